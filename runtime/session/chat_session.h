// A chat on one session: each turn computes only what the session does not hold yet.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/chat/chat_template.h"
#include "runtime/session/generator.h"

namespace lfm {

/// What happens to a message that does not fit into the context with all that was said before.
enum class OnFull {
    kStop,        // it is refused
    kDropOldest,  // the oldest turns are forgotten, until it fits with room for an answer; never the system message
};

struct ChatSettings {
    ChatFormat format = ChatFormat::kPlain;
    std::string system;                            // empty: no system message
    SpecialTokens parse = SpecialTokens::kAsText;  // of the system message and of what users say
    OnFull on_full = OnFull::kStop;
    GenerationOptions generation;  // the seed counts up by one from answer to answer
};

/// Messages are text, whatever they look like, unless ChatSettings::parse says otherwise; answers keep their tokens.
///
/// The session may go on when the new prompt begins with its tokens. Where it does not (reasoning dropped from earlier
/// answers, another answer wanted), it returns to the newest mark whose tokens still are a beginning: short-conv state
/// cannot be rewound to any other place. A mark is set behind every prompt.
class ChatSession {
public:
    /// Session and tokenizer outlive it; nobody else appends to the session.
    ChatSession(Session& session, const Tokenizer& tokenizer, ChatSettings settings);

    /// Goes on with another session that continues the first one's sequence: the model was placed anew.
    void continue_on(Session& session) { session_ = &session; }

    /// Answers a user's message. On Error{kContextFull}, any other error, and an interruption before the first token,
    /// the message is forgotten and the chat is as before. A partial answer is kept.
    Generation ask(std::string_view message, const SegmentSink& sink);

    /// Tokens of a prompt with the system message and this one: what no forgetting makes shorter.
    std::size_t n_tokens_alone(std::string_view message) const;

    bool can_regenerate() const { return !messages_.empty(); }
    /// Answers the last message once more, with the next seed. The old answer returns when that fails.
    Generation regenerate(const SegmentSink& sink);

    /// Forgets all but the system message.
    void clear() { messages_.clear(); }

private:
    struct Message {  // user and assistant in turn; an answer is last between calls
        std::string role;
        MarkedText content;
    };
    struct Mark {
        Checkpoint state;
        std::vector<float> logits;  // [n_vocab], of the last token before it
    };

    Generation answer(const SegmentSink& sink);
    MarkedText from_outside(std::string_view text) const;
    MarkedText history(const Generation& generation) const;
    std::vector<std::int32_t> render_prompt(std::span<const Message> messages) const;
    std::uint32_t drop_oldest(std::vector<std::int32_t>& prompt);
    std::vector<std::int32_t> rewind(std::span<const std::int32_t> prompt);
    std::span<const float> prefill(std::span<const std::int32_t> tokens);
    void set_mark(std::span<const float> logits);

    Session* session_;
    const Tokenizer& tokenizer_;
    ChatSettings settings_;
    std::vector<Message> messages_;
    std::vector<Mark> marks_;                 // by position
    std::optional<std::int32_t> unappended_;  // the chat's last token, when the session does not hold it
    std::size_t n_opening_ = 0;               // tokens at a prompt's end that history may lack: "<think>"
};

}  // namespace lfm
