#include "runtime/chat/conversation.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "memory/error.h"
#include "runtime/chat/python_text.h"

namespace lfm {
namespace {

using Json = nlohmann::ordered_json;

std::string error_of(std::string_view json_text) {
    try {
        parse_conversation(json_text);
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kInvalidInput);
        return error.what();
    }
    return "none";
}

std::string repeat(std::string_view part, int n) {
    std::string text;
    for (int i = 0; i < n; ++i) text += part;
    return text;
}

TEST(Conversation, ReadsItsKeys) {
    const Conversation conversation = parse_conversation(
        R"({"model": "any", "messages": [{"role": "user", "content": "é"}], "tools": [{"name": "f"}],
            "add_generation_prompt": false, "bos_token": "<s>", "keep_past_thinking": true, "preserve_thinking": null})");
    EXPECT_EQ(conversation.messages().size(), 1u);
    EXPECT_EQ(conversation.tools().size(), 1u);
    EXPECT_EQ(conversation.options.bos_token, "<s>");
    EXPECT_FALSE(conversation.options.add_generation_prompt);
    EXPECT_TRUE(conversation.options.keep_past_thinking);
    EXPECT_FALSE(conversation.options.preserve_thinking);
}

TEST(Conversation, HasDefaultsAndTakesABareArray) {
    const Conversation conversation = parse_conversation(R"([{"role": "user", "content": "a"}])");
    EXPECT_EQ(conversation.messages().size(), 1u);
    EXPECT_TRUE(conversation.tools().empty());
    EXPECT_TRUE(conversation.options.add_generation_prompt);
    EXPECT_EQ(conversation.options.bos_token, "<|startoftext|>");
}

TEST(Conversation, ErrorsNameThePlace) {
    EXPECT_EQ(error_of(""), "conversation: expected JSON in UTF-8, found an error at byte 1");
    EXPECT_EQ(error_of(R"({"messages")"), "conversation: expected JSON in UTF-8, found an error at byte 12");
    EXPECT_EQ(error_of("[1e999]"), "conversation: expected JSON, found a number out of range");
    EXPECT_EQ(error_of("3"), "conversation: expected an object, found number");
    EXPECT_EQ(error_of("{}"), "messages: expected at least one message, found none");
    EXPECT_EQ(error_of(R"({"messages": null})"), "messages: expected at least one message, found none");
    EXPECT_EQ(error_of(R"({"messages": "hi"})"), "messages: expected an array, found string");
    EXPECT_EQ(error_of("[3]"), "messages[0]: expected an object, found number");
    EXPECT_EQ(error_of(R"([{"role": "user"}, {"content": "a"}])"),
              "messages[1].role: expected a string, found nothing");
    EXPECT_EQ(error_of(R"([{"role": null}])"), "messages[0].role: expected a string, found null");
    EXPECT_EQ(error_of(R"({"messages": [{"role": "user"}], "tools": {}})"), "tools: expected an array, found object");
    EXPECT_EQ(error_of(R"({"messages": [{"role": "user"}], "add_generation_prompt": 1})"),
              "add_generation_prompt: expected true or false, found number");
    EXPECT_EQ(error_of(R"({"messages": [{"role": "user"}], "bos_token": 1})"),
              "bos_token: expected a string, found number");
}

TEST(Conversation, RefusesInvalidUtf8) {
    for (const char* bad : {"\xFF", "\xC3", "\xED\xA0\x80", "\xC0\xAF", "\\ud800", "\xF4\x90\x80\x80"})
        EXPECT_NE(error_of(std::string(R"([{"role": "user", "content": ")") + bad + "\"}]").find("UTF-8"),
                  std::string::npos)
            << bad;
}

TEST(Conversation, DeepNestingIsAnErrorNotACrash) {
    for (const char* part : {"[", "{\"a\":", "[{\"a\":["}) {
        EXPECT_EQ(error_of(repeat(part, 100'000)), "conversation: expected nesting of at most 64 levels, found more");
    }
    const auto nested = [](int depth) {  // messages, message and content make three levels
        return R"([{"role": "user", "content": )" + repeat("[", depth) + repeat("]", depth) + "}]";
    };
    EXPECT_EQ(error_of(nested(62)), "none");
    EXPECT_EQ(error_of(nested(63)), "conversation: expected nesting of at most 64 levels, found more");
}

TEST(Conversation, ManyKeysAreAnErrorNotAQuadraticWait) {
    const auto object = [](int n_keys) {
        std::string text = R"([{"role": "user", "inner": {)";
        for (int i = 0; i < n_keys; ++i) text += (i ? ",\"" : "\"") + std::to_string(i) + "\":{\"x\":1}";
        return text + "}}]";
    };
    EXPECT_EQ(error_of(object(1024)), "none");
    EXPECT_EQ(error_of(object(500'000)), "conversation: expected at most 1024 keys in an object, found more");
}

TEST(Conversation, KeysAreCountedPerObject) {
    std::string object = "{\"role\": \"user\"";
    for (int i = 0; i < 1000; ++i) object += ",\"" + std::to_string(i) + "\":{}";
    object += "}";
    EXPECT_EQ(error_of("[" + object + "," + object + "]"), "none");
}

TEST(Conversation, RefusesTooMuchText) {
    EXPECT_NE(error_of(std::string(17 << 20, ' ')).find("at most 16 MiB"), std::string::npos);
}

TEST(PythonText, JsonKeepsOrderAndUnicode) {
    const Json value =
        Json::parse(R"({"b": [1, -2.5, true, null], "a": {"é": "“\"\\\n\t\u0001\u007f/"}, "": [], "c": {}})");
    EXPECT_EQ(python_json(value),
              "{\"b\": [1, -2.5, true, null], \"a\": {\"é\": \"“\\\"\\\\\\n\\t\\u0001\x7f/\"}, \"\": [], \"c\": {}}");
}

TEST(PythonText, StrPrintsPythonLiterals) {
    const Json value = Json::parse(R"([true, false, null, "it's", "a\"b", "'\"", {"k": "\u00ad\n\u2028\\é"}, []])");
    EXPECT_EQ(python_str(value), R"([True, False, None, "it's", 'a"b', '\'"', {'k': '\xad\n\u2028\\é'}, []])");
    EXPECT_EQ(python_str(Json("as 'it' is")), "as 'it' is");
}

TEST(PythonText, NumbersReadAsInPython) {
    struct Case {
        const char* json;
        const char* text;
    };
    for (const Case& c : {Case{"1.0", "1.0"},
                          {"-0.0", "-0.0"},
                          {"-0", "0"},
                          {"1e5", "100000.0"},
                          {"1e15", "1000000000000000.0"},
                          {"1e16", "1e+16"},
                          {"0.0001", "0.0001"},
                          {"0.00001", "1e-05"},
                          {"1.5e-7", "1.5e-07"},
                          {"0.1", "0.1"},
                          {"1e300", "1e+300"},
                          {"9007199254740993.0", "9007199254740992.0"},
                          {"18446744073709551615", "18446744073709551615"},
                          {"-9223372036854775808", "-9223372036854775808"}}) {
        EXPECT_EQ(python_str(Json::parse(c.json)), c.text);
        EXPECT_EQ(python_json(Json::parse(c.json)), c.text);
    }
}

TEST(PythonText, StripTakesUnicodeSpaces) {
    EXPECT_EQ(python_strip(" \n\x1c\xC2\xA0\xE3\x80\x80 a b \xE2\x80\xA8\t"), "a b");
    EXPECT_EQ(python_strip("\xE2\x80\x8B"), "\xE2\x80\x8B") << "a zero-width space is none";
    EXPECT_EQ(python_strip(" \xA0 "), "\xA0") << "a stray byte is none";
    EXPECT_EQ(python_strip(" \n "), "");
}

}  // namespace
}  // namespace lfm
