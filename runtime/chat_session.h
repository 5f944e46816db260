// A chat on one session: each turn computes only what the session does not hold yet.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/chat_template.h"
#include "runtime/generator.h"

namespace lfm {

struct ChatSettings {
    ChatFormat format = ChatFormat::kPlain;
    std::string system;            // empty: no system message
    GenerationOptions generation;  // the seed counts up by one from answer to answer
};

/// Messages may hold the texts of control tokens, which then are tokens: what comes from strangers must not get here.
///
/// The session may go on when the new rendering begins with the text of its tokens. Where it does not (reasoning
/// dropped from earlier answers, another answer wanted), it returns to the newest mark whose text still is a beginning:
/// short-conv state cannot be rewound to any other place. A mark is set behind every prompt.
class ChatSession {
public:
    /// Session and tokenizer outlive it; nobody else appends to the session.
    ChatSession(Session& session, const Tokenizer& tokenizer, ChatSettings settings);

    /// Answers a user's message. On Error{kContextFull}, any other error, and an interruption before the first token,
    /// the message is forgotten and the chat is as before. A partial answer is kept.
    Generation ask(std::string_view message, const SegmentSink& sink);

    bool can_regenerate() const { return !messages_.empty(); }
    /// Answers the last message once more, with the next seed. The old answer returns when that fails.
    Generation regenerate(const SegmentSink& sink);

    /// Forgets all but the system message.
    void clear() { messages_.clear(); }

private:
    struct Message {  // user and assistant in turn; an answer is last between calls
        std::string role;
        std::string content;
    };
    struct Mark {
        Checkpoint state;
        std::vector<float> logits;  // [n_vocab], of the last token before it
    };

    struct Prompt {
        std::string text;
        std::vector<std::int32_t> tokens;
    };

    Generation answer(const SegmentSink& sink);
    Prompt render_prompt() const;
    std::optional<std::span<const std::int32_t>> tokens_after(std::span<const std::int32_t> held,
                                                              const Prompt& prompt) const;
    std::vector<std::int32_t> rewind(const Prompt& prompt);
    std::span<const float> prefill(std::span<const std::int32_t> tokens);
    void set_mark(std::span<const float> logits);

    Session& session_;
    const Tokenizer& tokenizer_;
    ChatSettings settings_;
    Generator generator_;
    std::vector<Message> messages_;
    std::vector<Mark> marks_;                 // by position
    std::optional<std::int32_t> unappended_;  // the chat's last token, when the session does not hold it
    std::size_t n_opening_ = 0;               // tokens at a prompt's end that history may lack: "<think>"
};

}  // namespace lfm
