#include "runtime/session/chat_session.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "memory/error.h"

namespace lfm {
namespace {

// Reasoning is dropped two turns back at most; each mark costs a copy of the conv state and one row of logits.
constexpr std::size_t kMaxMarks = 8;

/// The prompt's tokens behind those held; nothing when it does not begin with them.
std::optional<std::span<const std::int32_t>> tokens_after(std::span<const std::int32_t> held,
                                                          std::span<const std::int32_t> prompt) {
    if (held.empty() || held.size() > prompt.size() || !std::ranges::equal(held, prompt.first(held.size())))
        return std::nullopt;
    return prompt.subspan(held.size());
}

}  // namespace

ChatSession::ChatSession(Session& session, const Tokenizer& tokenizer, ChatSettings settings)
    : session_(&session), tokenizer_(tokenizer), settings_(std::move(settings)) {
    if (settings_.generation.think_start == ThinkStart::kInside)
        n_opening_ = tokenizer.encode("<think>", SpecialTokens::kAsTokens).size();
}

Generation ChatSession::ask(std::string_view message, const SegmentSink& sink) {
    const std::vector<Message> before = messages_;
    messages_.push_back({"user", from_outside(message)});
    try {
        Generation generation = answer(sink);
        if (messages_.back().role == "user") messages_ = before;  // interrupted too early
        return generation;
    } catch (...) {
        messages_ = before;
        throw;
    }
}

std::size_t ChatSession::n_tokens_alone(std::string_view message) const {
    const Message only{"user", from_outside(message)};
    return render_prompt({&only, 1}).size();
}

Generation ChatSession::regenerate(const SegmentSink& sink) {
    if (!can_regenerate()) throw Error(ErrorCode::kInvalidInput, "chat", "expected an answer to replace, found none");
    const std::vector<Message> before = messages_;
    messages_.pop_back();
    try {
        Generation generation = answer(sink);
        if (messages_.back().role == "user") messages_ = before;
        return generation;
    } catch (...) {
        messages_ = before;
        throw;
    }
}

/// Forgets the oldest turns, each a message and its answer, until the prompt leaves room for an answer. Returns how
/// many.
std::uint32_t ChatSession::drop_oldest(std::vector<std::int32_t>& prompt) {
    const std::uint32_t n_ctx = session_->n_ctx();
    const std::uint32_t room = std::min(settings_.generation.n_predict.value_or(n_ctx), n_ctx / 4);
    std::uint32_t n_dropped = 0;
    for (; prompt.size() + room > n_ctx && messages_.size() > 2; ++n_dropped) {
        messages_.erase(messages_.begin(), messages_.begin() + 2);
        prompt = render_prompt(messages_);
    }
    return n_dropped;
}

/// Adds the assistant's message, unless an interruption came first.
Generation ChatSession::answer(const SegmentSink& sink) {
    using Clock = std::chrono::steady_clock;
    const auto begin = Clock::now();
    std::vector<std::int32_t> prompt = render_prompt(messages_);
    const std::uint32_t n_dropped = settings_.on_full == OnFull::kDropOldest ? drop_oldest(prompt) : 0;
    const std::vector<std::int32_t> tokens = rewind(prompt);
    const std::uint32_t n_reused = session_->position();
    std::span<const float> logits;
    try {
        logits = prefill(tokens);
    } catch (const Error& error) {
        if (error.code() != ErrorCode::kInterrupted) throw;
        return {.end = EndReason::kInterrupted};
    }
    const double prompt_seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    const std::uint32_t n_prompt = session_->position();

    Generation generation = Generator(*session_, tokenizer_).generate(logits, settings_.generation, sink);
    ++settings_.generation.sampling.seed;
    generation.stats.n_prompt = n_prompt;
    generation.stats.n_reused = n_reused;
    generation.stats.prompt_seconds = prompt_seconds;
    generation.n_dropped = n_dropped;
    unappended_ = generation.unappended;
    messages_.push_back({"assistant", history(generation)});
    return generation;
}

MarkedText ChatSession::from_outside(std::string_view text) const {
    return settings_.parse == SpecialTokens::kAsTokens ? MarkedText::markup(text) : MarkedText::text(text);
}

/// The answer as history has it: its own tokens, but for what a stop string cut off, which was never said.
MarkedText ChatSession::history(const Generation& generation) const {
    MarkedText made;
    if (settings_.generation.think_start == ThinkStart::kInside) made.add_markup("<think>");
    for (const std::int32_t token : generation.tokens) made.add_token(token, tokenizer_.piece(token));
    if (generation.end != EndReason::kStopString) return made;
    MarkedText said;
    if (!generation.reasoning.empty()) said.add_markup("<think>").add_text(generation.reasoning).add_markup("</think>");
    said.add_text(generation.answer);
    return made.str().starts_with(said.str()) ? made.substr(0, said.str().size()) : said;
}

std::vector<std::int32_t> ChatSession::render_prompt(std::span<const Message> messages) const {
    Conversation conversation;
    conversation.options.think_start = settings_.generation.think_start;
    const auto bos = tokenizer_.bos();
    conversation.options.bos_token = bos ? std::string(tokenizer_.piece(*bos)) : std::string();
    if (!settings_.system.empty()) conversation.add("system", from_outside(settings_.system));
    for (const Message& message : messages) conversation.add(message.role, message.content);
    return tokenizer_.encode(render_marked(settings_.format, conversation));
}

/// Brings the session to the furthest place from which it can reach the prompt. Returns the tokens still to append.
std::vector<std::int32_t> ChatSession::rewind(std::span<const std::int32_t> prompt) {
    std::vector<std::int32_t> held(session_->tokens().begin(), session_->tokens().end());
    const auto unappended = std::exchange(unappended_, std::nullopt);
    if (unappended) held.push_back(*unappended);
    if (const auto rest = tokens_after(held, prompt); rest && !rest->empty()) {
        std::vector<std::int32_t> tokens(rest->begin(), rest->end());
        if (unappended) tokens.insert(tokens.begin(), *unappended);
        return tokens;
    }
    for (; !marks_.empty(); marks_.pop_back()) {
        const Checkpoint& state = marks_.back().state;
        const auto rest = tokens_after(session_->tokens().first(state.position), prompt);
        if (!rest) continue;
        session_->restore(state);
        return {rest->begin(), rest->end()};
    }
    session_->reset();
    return {prompt.begin(), prompt.end()};
}

/// Appends what rewind() gave; sets the mark behind it. Returns the logits of the prompt's last token.
std::span<const float> ChatSession::prefill(std::span<const std::int32_t> tokens) {
    if (tokens.empty()) return marks_.back().logits;  // the prompt ends at the mark
    const std::size_t n_tail = std::min(n_opening_, tokens.size());
    const auto head = tokens.first(tokens.size() - n_tail);
    std::span<const float> logits;
    if (!head.empty()) {
        logits = session_->append(head);
        set_mark(logits);
    }
    return n_tail > 0 ? session_->append(tokens.last(n_tail)) : logits;
}

void ChatSession::set_mark(std::span<const float> logits) {
    if (marks_.size() == kMaxMarks) marks_.erase(marks_.begin());
    marks_.push_back({session_->checkpoint(), {logits.begin(), logits.end()}});
}

}  // namespace lfm
