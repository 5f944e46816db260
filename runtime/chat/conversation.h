// A chat as the templates see it: messages, tools, and the variables that templates read.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "runtime/text/marked_text.h"
#include "runtime/text/think_filter.h"

namespace lfm {

struct ChatOptions {
    std::string bos_token = "<|startoftext|>";
    bool add_generation_prompt = true;              // end with the opening of an assistant message
    bool keep_past_thinking = false;                // read by kLfm25 and kPlain: earlier <think> blocks stay
    bool preserve_thinking = false;                 // read by kLfm25Moe: the same under its own name
    ThinkStart think_start = ThinkStart::kOutside;  // kInside: the generation prompt opens <think>
};

/// Messages and tools stay JSON, because templates print parts of them as they came. Move-only.
/// Invariant: messages is an array of objects with a string "role"; tools is an array; nesting is bounded.
class Conversation {
public:
    Conversation();
    ~Conversation();
    Conversation(Conversation&&) noexcept;
    Conversation& operator=(Conversation&&) noexcept;

    void add(std::string_view role, std::string_view content);
    /// The same, with markup and tokens among the text.
    void add(std::string_view role, MarkedText content);

    /// The content of a message that was added with sources. Null: its strings are text from outside.
    const MarkedText* marked_content(std::size_t index) const;

    const nlohmann::ordered_json& messages() const { return *messages_; }
    const nlohmann::ordered_json& tools() const { return *tools_; }

    ChatOptions options;

private:
    friend Conversation parse_conversation(std::string_view json_text);

    std::map<std::size_t, MarkedText> marked_contents_;  // by message
    // Behind pointers, so that readers of this header need not compile the JSON library.
    std::unique_ptr<nlohmann::ordered_json> messages_;
    std::unique_ptr<nlohmann::ordered_json> tools_;
};

/// {"messages": [{"role", "content", …}], "tools": […], "add_generation_prompt": true, "bos_token": "…",
/// "keep_past_thinking": false, "preserve_thinking": false}; all but "messages" may be absent or null, other keys are
/// ignored. A bare array is taken as the messages. Throws kInvalidInput, naming the place ("messages[2].role").
Conversation parse_conversation(std::string_view json_text);

/// JSON from outside. Throws kInvalidInput (`where`) on syntax, invalid UTF-8, more than 16 MiB, nesting deeper than
/// 64, or an object of more than 1024 keys: recursion and quadratic look-ups stay bounded.
nlohmann::ordered_json parse_bounded_json(std::string_view text, std::string_view where);

}  // namespace lfm
