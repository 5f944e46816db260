// Renders conversations as the templates do under Jinja2. Where a template would end in a Python exception, a null
// member counts as absent if that makes sense; anything else is a typed error.
#include <cstddef>

#include <nlohmann/json.hpp>

#include "memory/error.h"
#include "runtime/chat/chat_template.h"
#include "runtime/chat/python_text.h"

namespace lfm {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kThinkEnd = "</think>";
// The transformers library marks an unfinished last message with it; tool calls go before the mark.
constexpr std::string_view kContinueTag = "CONTINUE_FINAL_MESSAGE_TAG ";

/// A JSON value and its name for errors; `json` is null when the value is absent.
struct Value {
    const Json* json;
    std::string where;

    bool is_missing() const { return json == nullptr || json->is_null(); }
};

[[noreturn]] void fail(const Value& value, const std::string& expected) {
    throw Error{ErrorCode::kInvalidInput, value.where,
                "expected " + expected + ", found " + (value.json ? value.json->type_name() : "nothing")};
}

Value member(const Value& object, const char* key) {
    if (!object.json || !object.json->is_object()) fail(object, "an object");
    const auto found = object.json->find(key);
    return {found == object.json->end() ? nullptr : &*found, object.where + "." + key};
}

Value element(const Value& array, std::size_t index) {
    return {&(*array.json)[index], array.where + "[" + std::to_string(index) + "]"};
}

std::string string_of(const Value& value) {
    if (!value.json || !value.json->is_string()) fail(value, "a string");
    return value.json->get<std::string>();
}

/// A list of parts: text, "<image>" for an image, JSON for other parts.
MarkedText text_of_list(const Value& content) {
    if (!content.json->is_array()) fail(content, "a string or a list of parts");
    MarkedText text;
    for (std::size_t i = 0; i < content.json->size(); ++i) {
        const Value part = element(content, i);
        const auto type = part.json->is_object() ? part.json->value("type", Json()) : Json();
        if (type == "image")
            text.add_markup("<image>");
        else if (type == "text")
            text.add_text(string_of(member(part, "text")));
        else
            text.add_text(python_json(*part.json));
    }
    return text;
}

MarkedText without_thinking(const MarkedText& content) {
    const std::string_view text = content.str();
    const std::size_t end = text.rfind(kThinkEnd);
    if (end == std::string_view::npos) return content;
    const std::string_view rest = python_strip(text.substr(end + kThinkEnd.size()));
    return content.substr(static_cast<std::size_t>(rest.data() - text.data()), rest.size());
}

/// "a='x', b=2"; some clients send the arguments as JSON in a string.
std::string call_arguments(const Value& arguments) {
    if (arguments.json && arguments.json->is_string()) {
        const Json parsed = parse_bounded_json(arguments.json->get_ref<const std::string&>(), arguments.where);
        if (!parsed.is_object()) fail({&parsed, arguments.where}, "an object");
        return call_arguments({&parsed, arguments.where});
    }
    if (!arguments.json || !arguments.json->is_object()) fail(arguments, "an object");
    std::string text;
    for (const auto& [name, value] : arguments.json->items()) {
        if (!text.empty()) text += ", ";
        text += name + "=";
        if (value.is_string())
            text += "'" + value.get<std::string>() + "'";
        else
            text += value.is_object() ? python_json(value) : python_str(value);
    }
    return text;
}

MarkedText tool_calls_text(const Value& calls) {
    if (!calls.json->is_array()) fail(calls, "an array");
    MarkedText text = MarkedText::markup("<|tool_call_start|>[");
    for (std::size_t i = 0; i < calls.json->size(); ++i) {
        const Value function = member(element(calls, i), "function");
        if (i > 0) text.add_markup(", ");
        text.add_text(string_of(member(function, "name")));
        text.add_text("(" + call_arguments(member(function, "arguments")) + ")");
    }
    return text.add_markup("]<|tool_call_end|>");
}

std::string tools_text(const Conversation& conversation) {
    std::string text = "[";
    std::string_view separator;
    for (const Json& tool : conversation.tools()) {
        text.append(separator).append(tool.is_string() ? tool.get<std::string>() : python_json(tool));
        separator = ", ";
    }
    return text + "]";
}

/// One conversation in one format. Indices are those of the messages as given.
class Renderer {
public:
    Renderer(ChatFormat format, const Conversation& conversation)
        : format_(format), conversation_(conversation), messages_{&conversation.messages(), "messages"} {}

    MarkedText render() const {
        if (messages_.json->empty())
            throw Error{ErrorCode::kInvalidInput, "messages", "expected at least one message, found none"};
        const std::size_t first = role(0) == "system" ? 1 : 0;
        const MarkedText system = system_text(first);
        MarkedText text = MarkedText::markup(conversation_.options.bos_token);
        if (!system.empty()) text.add_markup("<|im_start|>system\n").append(system).add_markup("<|im_end|>\n");
        for (std::size_t i = first; i < messages_.json->size(); ++i) {
            text.add_markup("<|im_start|>").add_text(role(i)).add_markup("\n");
            text.append(body(i)).add_markup("<|im_end|>\n");
        }
        if (conversation_.options.add_generation_prompt) {
            text.add_markup("<|im_start|>assistant\n");
            if (conversation_.options.think_start == ThinkStart::kInside) text.add_markup("<think>");
        }
        return text;
    }

private:
    Value message(std::size_t index) const { return element(messages_, index); }
    std::string role(std::size_t index) const { return string_of(member(message(index), "role")); }

    /// The last message of a role, -1 when there is none.
    std::ptrdiff_t last_index(std::string_view wanted) const {
        for (std::size_t i = messages_.json->size(); i-- > 0;)
            if (role(i) == wanted) return static_cast<std::ptrdiff_t>(i);
        return -1;
    }

    Value content(std::size_t index) const { return member(message(index), "content"); }

    /// A content that is a string, with its sources.
    MarkedText string_content(std::size_t index) const {
        const MarkedText* marked = conversation_.marked_content(index);
        return marked != nullptr ? *marked : MarkedText::text(string_of(content(index)));
    }

    /// A string as it is, anything else as JSON: null prints "null", as in the templates.
    MarkedText string_or_json(std::size_t index) const {
        const Value value = content(index);
        if (!value.json) fail(value, "a string");
        return value.json->is_string() ? string_content(index) : MarkedText::text(python_json(*value.json));
    }

    /// A string, or a list of parts. Absent or null: nothing.
    MarkedText text_of_parts(std::size_t index) const {
        const Value value = content(index);
        if (value.is_missing()) return {};
        return value.json->is_string() ? string_content(index) : text_of_list(value);
    }

    /// The first system message (`n_system` 0 or 1 of them) and the tools. An absent or null content counts as "".
    MarkedText system_text(std::size_t n_system) const {
        MarkedText text;
        if (n_system > 0 && !content(0).is_missing()) {
            const bool takes_parts = format_ == ChatFormat::kLfm25Moe || format_ == ChatFormat::kPlain;
            text = takes_parts ? text_of_parts(0) : string_content(0);
        }
        if (conversation_.tools().empty()) return text;
        if (format_ == ChatFormat::kPlain)
            throw Error{ErrorCode::kInvalidInput, "tools", "expected none in the plain chat format, found some"};
        if (!text.empty()) text.add_markup("\n");
        const std::string tools = tools_text(conversation_);
        if (format_ == ChatFormat::kLfm2)
            return text.add_markup("List of tools: <|tool_list_start|>")
                .add_text(tools)
                .add_markup("<|tool_list_end|>");
        return text.add_markup("List of tools: ").add_text(tools);
    }

    MarkedText body(std::size_t index) const {
        const bool is_assistant = role(index) == "assistant";
        if (format_ == ChatFormat::kLfm2) {
            MarkedText text = string_or_json(index);
            if (role(index) != "tool") return text;
            return MarkedText::markup("<|tool_response_start|>").append(text).add_markup("<|tool_response_end|>");
        }
        if (format_ == ChatFormat::kLfm25Moe) return is_assistant ? structured_body(index) : text_of_parts(index);

        const MarkedText text = format_ == ChatFormat::kPlain ? text_of_parts(index) : string_or_json(index);
        const bool is_past = is_assistant && static_cast<std::ptrdiff_t>(index) != last_assistant_;
        return is_past && !conversation_.options.keep_past_thinking ? without_thinking(text) : text;
    }

    /// An assistant message of LFM2.5-8B-A1B. What follows the last user message keeps its thinking. Null members
    /// count as absent (clients send "content": null beside tool calls).
    MarkedText structured_body(std::size_t index) const {
        const bool keeps_thinking =
            conversation_.options.preserve_thinking || static_cast<std::ptrdiff_t>(index) > last_user_;
        const Value thinking = member(message(index), "thinking");
        MarkedText text;
        if (keeps_thinking && !thinking.is_missing())
            text.add_markup("<think>").add_text(string_of(thinking)).add_markup("</think>");

        MarkedText said = text_of_parts(index);
        if (!keeps_thinking) said = without_thinking(said);
        const Value calls = member(message(index), "tool_calls");
        if (calls.is_missing()) return text.append(said);
        const bool continues = said.str().ends_with(kContinueTag);
        if (continues) said = said.substr(0, said.str().size() - kContinueTag.size());
        return text.append(said).append(tool_calls_text(calls)).add_text(continues ? kContinueTag : "");
    }

    ChatFormat format_;
    const Conversation& conversation_;
    Value messages_;
    std::ptrdiff_t last_assistant_ = last_index("assistant");
    std::ptrdiff_t last_user_ = last_index("user");
};

}  // namespace

MarkedText render_marked(ChatFormat format, const Conversation& conversation) {
    return Renderer(format, conversation).render();
}

std::string render(ChatFormat format, const Conversation& conversation) {
    return render_marked(format, conversation).str();
}

}  // namespace lfm
