// Renders conversations as the templates do under Jinja2. Where a template would end in a Python exception, a null
// member counts as absent if that makes sense; anything else is a typed error.
#include <cstddef>

#include <nlohmann/json.hpp>

#include "memory/error.h"
#include "runtime/chat_template.h"
#include "runtime/python_text.h"

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

/// A string as it is, anything else as JSON: null prints "null", as in the templates.
std::string string_or_json(const Value& value) {
    if (!value.json) fail(value, "a string");
    return value.json->is_string() ? value.json->get<std::string>() : python_json(*value.json);
}

/// A string, or a list of parts: text, "<image>" for an image, JSON for other parts. Absent or null: nothing.
std::string text_of_parts(const Value& content) {
    if (content.is_missing()) return {};
    if (content.json->is_string()) return content.json->get<std::string>();
    if (!content.json->is_array()) fail(content, "a string or a list of parts");
    std::string text;
    for (std::size_t i = 0; i < content.json->size(); ++i) {
        const Value part = element(content, i);
        const auto type = part.json->is_object() ? part.json->value("type", Json()) : Json();
        if (type == "image")
            text += "<image>";
        else if (type == "text")
            text += string_of(member(part, "text"));
        else
            text += python_json(*part.json);
    }
    return text;
}

std::string without_thinking(const std::string& content) {
    const std::size_t end = content.rfind(kThinkEnd);
    if (end == std::string::npos) return content;
    return std::string(python_strip(std::string_view(content).substr(end + kThinkEnd.size())));
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

std::string tool_calls_text(const Value& calls) {
    if (!calls.json->is_array()) fail(calls, "an array");
    std::string text = "<|tool_call_start|>[";
    for (std::size_t i = 0; i < calls.json->size(); ++i) {
        const Value function = member(element(calls, i), "function");
        if (i > 0) text += ", ";
        text += string_of(member(function, "name"));
        text += "(" + call_arguments(member(function, "arguments")) + ")";
    }
    return text + "]<|tool_call_end|>";
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

    std::string render() const {
        if (messages_.json->empty())
            throw Error{ErrorCode::kInvalidInput, "messages", "expected at least one message, found none"};
        const std::size_t first = role(0) == "system" ? 1 : 0;
        const std::string system = system_text(first);
        std::string text = conversation_.options.bos_token;
        if (!system.empty()) text += "<|im_start|>system\n" + system + "<|im_end|>\n";
        for (std::size_t i = first; i < messages_.json->size(); ++i)
            text += "<|im_start|>" + role(i) + "\n" + body(i) + "<|im_end|>\n";
        if (conversation_.options.add_generation_prompt) {
            text += "<|im_start|>assistant\n";
            if (conversation_.options.think_start == ThinkStart::kInside) text += "<think>";
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

    /// The first system message (`n_system` 0 or 1 of them) and the tools. An absent or null content counts as "".
    std::string system_text(std::size_t n_system) const {
        std::string text;
        if (n_system > 0) {
            const Value content = member(message(0), "content");
            const bool takes_parts = format_ == ChatFormat::kLfm25Moe || format_ == ChatFormat::kPlain;
            if (!content.is_missing()) text = takes_parts ? text_of_parts(content) : string_of(content);
        }
        if (conversation_.tools().empty()) return text;
        if (format_ == ChatFormat::kPlain)
            throw Error{ErrorCode::kInvalidInput, "tools", "expected none in the plain chat format, found some"};
        if (!text.empty()) text += "\n";
        const std::string tools = tools_text(conversation_);
        if (format_ == ChatFormat::kLfm2)
            return text + "List of tools: <|tool_list_start|>" + tools + "<|tool_list_end|>";
        return text + "List of tools: " + tools;
    }

    std::string body(std::size_t index) const {
        const bool is_assistant = role(index) == "assistant";
        const Value content = member(message(index), "content");
        if (format_ == ChatFormat::kLfm2) {
            const std::string text = string_or_json(content);
            return role(index) == "tool" ? "<|tool_response_start|>" + text + "<|tool_response_end|>" : text;
        }
        if (format_ == ChatFormat::kLfm25Moe) return is_assistant ? structured_body(index) : text_of_parts(content);

        const std::string text = format_ == ChatFormat::kPlain ? text_of_parts(content) : string_or_json(content);
        const bool is_past = is_assistant && static_cast<std::ptrdiff_t>(index) != last_assistant_;
        return is_past && !conversation_.options.keep_past_thinking ? without_thinking(text) : text;
    }

    /// An assistant message of LFM2.5-8B-A1B. What follows the last user message keeps its thinking. Null members
    /// count as absent (clients send "content": null beside tool calls).
    std::string structured_body(std::size_t index) const {
        const bool keeps_thinking =
            conversation_.options.preserve_thinking || static_cast<std::ptrdiff_t>(index) > last_user_;
        const Value thinking = member(message(index), "thinking");
        std::string text;
        if (keeps_thinking && !thinking.is_missing()) text = "<think>" + string_of(thinking) + "</think>";

        std::string content = text_of_parts(member(message(index), "content"));
        if (!keeps_thinking) content = without_thinking(content);
        const Value calls = member(message(index), "tool_calls");
        if (calls.is_missing()) return text + content;
        const bool continues = content.ends_with(kContinueTag);
        if (continues) content.resize(content.size() - kContinueTag.size());
        return text + content + tool_calls_text(calls) + std::string(continues ? kContinueTag : "");
    }

    ChatFormat format_;
    const Conversation& conversation_;
    Value messages_;
    std::ptrdiff_t last_assistant_ = last_index("assistant");
    std::ptrdiff_t last_user_ = last_index("user");
};

}  // namespace

std::string render(ChatFormat format, const Conversation& conversation) {
    return Renderer(format, conversation).render();
}

}  // namespace lfm
