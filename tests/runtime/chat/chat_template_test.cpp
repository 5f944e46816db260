#include "runtime/chat/chat_template.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <string>

#include "memory/error.h"
#include "tests/golden.h"

namespace lfm {
namespace {

namespace fs = std::filesystem;

const std::map<std::string, ChatFormat> kGoldenTemplates{{"LFM2-8B-A1B.jinja", ChatFormat::kLfm2},
                                                         {"LFM2.5-Instruct.jinja", ChatFormat::kLfm25},
                                                         {"LFM2.5-8B-A1B.jinja", ChatFormat::kLfm25Moe}};

std::string read_text(const fs::path& path) {
    std::ostringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
}

std::string render_json(ChatFormat format, std::string_view json_text) {
    return render(format, parse_conversation(json_text));
}

std::string error_of(ChatFormat format, std::string_view json_text) {
    try {
        render_json(format, json_text);
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kInvalidInput);
        return error.what();
    }
    return "none";
}

std::string replace_all(std::string text, std::string_view from, std::string_view to) {
    for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
        text.replace(at, from.size(), to);
    return text;
}

TEST(ChatTemplate, GoldenRenderings) {
    const auto golden = test::golden_dir();
    if (!golden) GTEST_SKIP() << "golden data absent: set LFM_GOLDEN to its directory";
    const auto cases = nlohmann::ordered_json::parse(read_text(*golden / "chat/cases.json")).at("cases");
    EXPECT_GE(cases.size(), 29u);
    for (const auto& item : cases) {
        const auto format = kGoldenTemplates.find(item.at("template").get<std::string>());
        ASSERT_NE(format, kGoldenTemplates.end()) << item.at("template");
        EXPECT_EQ(render_json(format->second, item.dump()), item.at("expected").get<std::string>()) << item.dump();
    }
}

TEST(ChatTemplate, GoldenTemplatesAreKnownWhateverTheirIndentation) {
    const auto golden = test::golden_dir();
    if (!golden) GTEST_SKIP() << "golden data absent: set LFM_GOLDEN to its directory";
    for (const auto& [name, format] : kGoldenTemplates) {
        const std::string text = read_text(*golden / "chat" / name);
        ASSERT_FALSE(text.empty()) << name;
        const std::string reindented = replace_all(replace_all(text, "{%-", "\n\t {% "), "-%}", "%}\r\n");
        for (const std::string& variant : {text, reindented}) {
            const Recognised found = recognise_template(variant);
            EXPECT_EQ(found.format, format) << name;
            EXPECT_EQ(found.confidence, Confidence::kExact) << name;
            EXPECT_EQ(found.think_start, ThinkStart::kOutside) << name;
        }
        const Recognised changed = recognise_template(replace_all(text, "\"assistant\"", "\"model\""));
        EXPECT_EQ(changed.format, format) << name;
        EXPECT_EQ(changed.confidence, format == ChatFormat::kLfm2 ? Confidence::kExact : Confidence::kSimilar)
            << name << " (LFM2's template does not speak of the assistant role)";
        const Recognised longer = recognise_template(text + "x");
        EXPECT_EQ(longer.format, format) << name;
        EXPECT_EQ(longer.confidence, Confidence::kSimilar) << name;
    }
}

TEST(ChatTemplate, OtherTemplatesAreKnownByTheirMarks) {
    struct Case {
        const char* text;
        ChatFormat format;
        Confidence confidence;
        ThinkStart think_start;
    };
    for (const Case& c :
         {Case{"{{ '<|tool_list_start|>' }}", ChatFormat::kLfm2, Confidence::kSimilar, ThinkStart::kOutside},
          {"{% if keep_past_thinking %}", ChatFormat::kLfm25, Confidence::kSimilar, ThinkStart::kOutside},
          {"{{ 'List of tools: [' }}", ChatFormat::kLfm25, Confidence::kSimilar, ThinkStart::kOutside},
          {"keep_past_thinking render_tool_calls(", ChatFormat::kLfm25Moe, Confidence::kSimilar, ThinkStart::kOutside},
          {R"(preserve_thinking {{- '<|im_start|>assistant\n<think>' -}})", ChatFormat::kLfm25Moe, Confidence::kSimilar,
           ThinkStart::kInside},
          {"<|im_start|>assistant\n<think>", ChatFormat::kPlain, Confidence::kUnknown, ThinkStart::kInside},
          {"{{ range(10**9) }}", ChatFormat::kPlain, Confidence::kUnknown, ThinkStart::kOutside},
          {"", ChatFormat::kPlain, Confidence::kUnknown, ThinkStart::kOutside}}) {
        const Recognised found = recognise_template(c.text);
        EXPECT_EQ(found.format, c.format) << c.text;
        EXPECT_EQ(found.confidence, c.confidence) << c.text;
        EXPECT_EQ(found.think_start, c.think_start) << c.text;
    }
}

TEST(ChatTemplate, NamesLeadBackToFormats) {
    ASSERT_EQ(chat_format_names().size(), 4u);
    for (const std::string_view name : chat_format_names()) {
        const auto format = chat_format_from_name(name);
        ASSERT_TRUE(format.has_value());
        EXPECT_EQ(chat_format_name(*format), name);
    }
    EXPECT_EQ(chat_format_from_name("lfm2.5"), ChatFormat::kLfm25);
    EXPECT_EQ(chat_format_from_name("lfm2.5-moe"), ChatFormat::kLfm25Moe);
    EXPECT_FALSE(chat_format_from_name("LFM2").has_value());
}

TEST(ChatRender, ToolsAndToolResults) {
    constexpr std::string_view kJson =
        R"({"messages": [{"role": "system", "content": "S"}, {"role": "tool", "content": [1, "é"]}],
        "tools": [{"b": 1, "a": [true]}, "as is"], "add_generation_prompt": false})";
    EXPECT_EQ(
        render_json(ChatFormat::kLfm2, kJson),
        "<|startoftext|><|im_start|>system\nS\nList of tools: <|tool_list_start|>[{\"b\": 1, \"a\": [true]}, as is]"
        "<|tool_list_end|><|im_end|>\n<|im_start|>tool\n<|tool_response_start|>[1, \"é\"]<|tool_response_end|>"
        "<|im_end|>\n");
    EXPECT_EQ(render_json(ChatFormat::kLfm25, kJson),
              "<|startoftext|><|im_start|>system\nS\nList of tools: [{\"b\": 1, \"a\": [true]}, as is]<|im_end|>\n"
              "<|im_start|>tool\n[1, \"é\"]<|im_end|>\n");
    EXPECT_EQ(error_of(ChatFormat::kPlain, kJson), "tools: expected none in the plain chat format, found some");
}

TEST(ChatRender, EarlierThinkingIsDropped) {
    const auto body = [](ChatFormat format, std::string_view options) {
        const std::string text = render_json(format, R"({"messages": [{"role": "user", "content": "q"},
            {"role": "assistant", "content": "<think>t</think>x</think>\n a\u3000"},
            {"role": "assistant", "content": "<think>u</think> b"}, {"role": "user", "content": "r"}],
            "bos_token": "", "add_generation_prompt": false)" +
                                                         std::string(options) + "}");
        return replace_all(replace_all(text, "<|im_start|>assistant", "@"), "<|im_end|>\n", "|");
    };
    constexpr const char* kAll =
        "<|im_start|>user\nq|@\n<think>t</think>x</think>\n a\u3000|@\n<think>u</think> b|<|im_start|>user\nr|";
    constexpr const char* kLast = "<|im_start|>user\nq|@\na|@\n<think>u</think> b|<|im_start|>user\nr|";
    constexpr const char* kNone = "<|im_start|>user\nq|@\na|@\nb|<|im_start|>user\nr|";
    EXPECT_EQ(body(ChatFormat::kLfm2, ""), kAll);
    EXPECT_EQ(body(ChatFormat::kLfm25, ""), kLast);
    EXPECT_EQ(body(ChatFormat::kPlain, ""), kLast);
    EXPECT_EQ(body(ChatFormat::kLfm25Moe, ""), kNone);
    EXPECT_EQ(body(ChatFormat::kLfm25, R"(, "keep_past_thinking": true)"), kAll);
    EXPECT_EQ(body(ChatFormat::kLfm25Moe, R"(, "preserve_thinking": true)"), kAll);
    EXPECT_EQ(body(ChatFormat::kLfm25Moe, R"(, "keep_past_thinking": true)"), kNone);
}

TEST(ChatRender, StructuredToolCalls) {
    EXPECT_EQ(
        render_json(ChatFormat::kLfm25Moe, R"({"messages": [{"role": "assistant", "content": null, "thinking": "hm",
        "tool_calls": [{"function": {"name": "f", "arguments": {"s": "it's", "l": [1, "a", null], "x": 1.0, "o": {"k": true}}}},
                       {"function": {"name": "g", "arguments": "{\"n\": 2}"}},
                       {"function": {"name": "h", "arguments": {}}}]}], "bos_token": "", "add_generation_prompt": false})"),
        "<|im_start|>assistant\n<think>hm</think><|tool_call_start|>[f(s='it's', l=[1, 'a', None], x=1.0, "
        "o={\"k\": true}), g(n=2), h()]<|tool_call_end|><|im_end|>\n");
}

TEST(ChatRender, ToolCallsGoBeforeTheMarkOfAnUnfinishedMessage) {
    EXPECT_EQ(render_json(ChatFormat::kLfm25Moe, R"({"messages": [{"role": "assistant",
        "content": "a CONTINUE_FINAL_MESSAGE_TAG ", "tool_calls": []}], "bos_token": "", "add_generation_prompt": false})"),
              "<|im_start|>assistant\na <|tool_call_start|>[]<|tool_call_end|>CONTINUE_FINAL_MESSAGE_TAG <|im_end|>\n");
}

TEST(ChatRender, PartsAndImages) {
    constexpr std::string_view kJson =
        R"([{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "what?"}, {"type": "x"}]}])";
    for (const ChatFormat format : {ChatFormat::kLfm25Moe, ChatFormat::kPlain})
        EXPECT_EQ(render_json(format, kJson),
                  "<|startoftext|><|im_start|>user\n<image>what?{\"type\": \"x\"}<|im_end|>\n"
                  "<|im_start|>assistant\n");
}

TEST(ChatRender, GenerationPromptMayOpenTheReasoning) {
    Conversation conversation;
    conversation.add("user", "hi");
    conversation.options.think_start = ThinkStart::kInside;
    EXPECT_EQ(render(ChatFormat::kLfm25Moe, conversation),
              "<|startoftext|><|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n<think>");
    conversation.options.add_generation_prompt = false;
    EXPECT_EQ(render(ChatFormat::kLfm25Moe, conversation), "<|startoftext|><|im_start|>user\nhi<|im_end|>\n");
}

TEST(ChatRender, ErrorsNameThePlace) {
    constexpr ChatFormat kMoe = ChatFormat::kLfm25Moe;
    EXPECT_THROW(render(kMoe, Conversation()), Error);
    EXPECT_EQ(error_of(ChatFormat::kLfm2, R"([{"role": "user"}])"),
              "messages[0].content: expected a string, found nothing");
    EXPECT_EQ(error_of(ChatFormat::kLfm25, R"([{"role": "system", "content": ["a"]}])"),
              "messages[0].content: expected a string, found array");
    EXPECT_EQ(error_of(kMoe, R"([{"role": "user", "content": 3}])"),
              "messages[0].content: expected a string or a list of parts, found number");
    EXPECT_EQ(error_of(kMoe, R"([{"role": "user", "content": [{"type": "text"}]}])"),
              "messages[0].content[0].text: expected a string, found nothing");
    EXPECT_EQ(error_of(kMoe, R"([{"role": "assistant", "thinking": 1}])"),
              "messages[0].thinking: expected a string, found number");
    const auto calls = [&](const std::string& json) {
        return error_of(kMoe, R"([{"role": "user"}, {"role": "assistant", "tool_calls": )" + json + "}]");
    };
    EXPECT_EQ(calls("{}"), "messages[1].tool_calls: expected an array, found object");
    EXPECT_EQ(calls("[3]"), "messages[1].tool_calls[0]: expected an object, found number");
    EXPECT_EQ(calls("[{}]"), "messages[1].tool_calls[0].function: expected an object, found nothing");
    EXPECT_EQ(calls(R"([{"function": {"name": 1}}])"),
              "messages[1].tool_calls[0].function.name: expected a string, found number");
    EXPECT_EQ(calls(R"([{"function": {"name": "f"}}])"),
              "messages[1].tool_calls[0].function.arguments: expected an object, found nothing");
    EXPECT_EQ(calls(R"([{"function": {"name": "f", "arguments": "[1]"}}])"),
              "messages[1].tool_calls[0].function.arguments: expected an object, found array");
    EXPECT_EQ(calls(R"([{"function": {"name": "f", "arguments": "{"}}])"),
              "messages[1].tool_calls[0].function.arguments: expected JSON in UTF-8, found an error at byte 2");
}

/// A random JSON value; members of an object may be missing or of the wrong kind.
nlohmann::ordered_json random_value(int depth, std::mt19937& random) {
    switch (random() % (depth > 0 ? 8 : 6)) {
        case 0: return nullptr;
        case 1: return random() % 2 == 0;
        case 2: return static_cast<int>(random());
        case 3: return static_cast<double>(random()) / 7;
        case 4: return "text </think>";
        case 5: return "user";
        case 6: {
            auto array = nlohmann::ordered_json::array();
            for (auto n = random() % 3; n > 0; --n) array.push_back(random_value(depth - 1, random));
            return array;
        }
        default: {
            static constexpr const char* kKeys[] = {"role", "content",   "thinking", "tool_calls", "function",
                                                    "name", "arguments", "type",     "text"};
            auto object = nlohmann::ordered_json::object();
            for (auto n = random() % 6; n > 0; --n)
                object[kKeys[random() % std::size(kKeys)]] = random_value(depth - 1, random);
            return object;
        }
    }
}

TEST(ChatRender, AnyJsonGivesTextOrATypedError) {
    std::mt19937 random(1);
    int n_rendered = 0;
    for (int round = 0; round < 20'000; ++round) {
        auto messages = nlohmann::ordered_json::array();
        for (auto n = random() % 4; n > 0; --n) {
            auto message = random_value(5, random);
            if (message.is_object()) message["role"] = std::array{"user", "assistant", "system", "tool"}[random() % 4];
            messages.push_back(message);
        }
        const std::string json = messages.dump();
        for (const std::string_view name : chat_format_names()) {
            try {
                render_json(*chat_format_from_name(name), json);
                ++n_rendered;
            } catch (const Error& error) {
                ASSERT_EQ(error.code(), ErrorCode::kInvalidInput) << json;
            }
        }
    }
    EXPECT_GT(n_rendered, 1'000);
}

}  // namespace
}  // namespace lfm
