// Chat formats of the LFM2 family: found by a model's template text, rendered by our own code, not by Jinja.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "runtime/chat/conversation.h"
#include "runtime/text/think_filter.h"

namespace lfm {

enum class ChatFormat {
    kLfm2,      // tools and tool results between markers
    kLfm25,     // tools as plain text; <think> dropped from all but the last assistant message
    kLfm25Moe,  // also structured tool calls and thinking (LFM2.5-8B-A1B)
    kPlain,     // roles and contents only
};

/// Names for `--chat-template`, in the order of ChatFormat.
std::span<const std::string_view> chat_format_names();
std::string_view chat_format_name(ChatFormat format);
std::optional<ChatFormat> chat_format_from_name(std::string_view name);

enum class Confidence {
    kExact,    // the template is one we reproduce byte for byte
    kSimilar,  // it has the marks of one
    kUnknown,  // kPlain is a guess
};

struct Recognised {
    ChatFormat format;
    Confidence confidence;
    ThinkStart think_start;  // kInside: its generation prompt ends in <think>
};

/// `template_text`: `tokenizer.chat_template` of a GGUF, never executed.
Recognised recognise_template(std::string_view template_text);

/// The prompt, beginning with the BOS token: what the format writes is markup, every string of the conversation is text
/// (but for contents that were added with their sources). Throws kInvalidInput, naming the place
/// ("messages[2].content"), when a message does not fit the format.
MarkedText render_marked(ChatFormat format, const Conversation& conversation);

/// The same without sources: to be read, not to be encoded.
std::string render(ChatFormat format, const Conversation& conversation);

}  // namespace lfm
