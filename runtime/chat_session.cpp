#include "runtime/chat_session.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "memory/error.h"

namespace lfm {
namespace {

// Reasoning is dropped two turns back at most; each mark costs a copy of the conv state and one row of logits.
constexpr std::size_t kMaxMarks = 8;

/// The answer as history has it: what a stop string cut off was never said.
std::string history_text(const Generation& generation, ThinkStart think_start) {
    if (generation.end != EndReason::kStopString)
        return (think_start == ThinkStart::kInside ? "<think>" : "") + generation.raw;
    if (generation.reasoning.empty()) return generation.answer;
    return "<think>" + generation.reasoning + "</think>" + generation.answer;
}

}  // namespace

ChatSession::ChatSession(Session& session, const Tokenizer& tokenizer, ChatSettings settings)
    : session_(session), tokenizer_(tokenizer), settings_(std::move(settings)), generator_(session, tokenizer) {
    if (settings_.generation.think_start == ThinkStart::kInside)
        n_opening_ = tokenizer.encode("<think>", SpecialTokens::kAsTokens).size();
}

Generation ChatSession::ask(std::string_view message, const SegmentSink& sink) {
    messages_.push_back({"user", std::string(message)});
    try {
        Generation generation = answer(sink);
        if (messages_.back().role == "user") messages_.pop_back();  // interrupted too early
        return generation;
    } catch (...) {
        messages_.pop_back();
        throw;
    }
}

Generation ChatSession::regenerate(const SegmentSink& sink) {
    if (!can_regenerate()) throw Error(ErrorCode::kInvalidInput, "chat", "expected an answer to replace, found none");
    Message old = std::move(messages_.back());
    messages_.pop_back();
    try {
        Generation generation = answer(sink);
        if (messages_.back().role == "user") messages_.push_back(std::move(old));
        return generation;
    } catch (...) {
        messages_.push_back(std::move(old));
        throw;
    }
}

/// Adds the assistant's message, unless an interruption came first.
Generation ChatSession::answer(const SegmentSink& sink) {
    using Clock = std::chrono::steady_clock;
    const auto begin = Clock::now();
    const std::vector<std::int32_t> tokens = rewind(render_prompt());
    const std::uint32_t n_reused = session_.position();
    std::span<const float> logits;
    try {
        logits = prefill(tokens);
    } catch (const Error& error) {
        if (error.code() != ErrorCode::kInterrupted) throw;
        return {.end = EndReason::kInterrupted};
    }
    const double prompt_seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    const std::uint32_t n_prompt = session_.position();

    Generation generation = generator_.generate(logits, settings_.generation, sink);
    ++settings_.generation.sampling.seed;
    generation.stats.n_prompt = n_prompt;
    generation.stats.n_reused = n_reused;
    generation.stats.prompt_seconds = prompt_seconds;
    unappended_ = generation.unappended;
    messages_.push_back({"assistant", history_text(generation, settings_.generation.think_start)});
    return generation;
}

ChatSession::Prompt ChatSession::render_prompt() const {
    Conversation conversation;
    conversation.options.think_start = settings_.generation.think_start;
    const auto bos = tokenizer_.bos();
    conversation.options.bos_token = bos ? std::string(tokenizer_.piece(*bos)) : std::string();
    if (!settings_.system.empty()) conversation.add("system", settings_.system);
    for (const Message& message : messages_) conversation.add(message.role, message.content);
    std::string text = render(settings_.format, conversation);
    std::vector<std::int32_t> tokens = tokenizer_.encode(text, SpecialTokens::kAsTokens);
    return {std::move(text), std::move(tokens)};
}

/// Brings the session to the furthest place from which it can reach the prompt. Returns the tokens still to append.
std::vector<std::int32_t> ChatSession::rewind(const Prompt& prompt) {
    std::vector<std::int32_t> held(session_.tokens().begin(), session_.tokens().end());
    const auto unappended = std::exchange(unappended_, std::nullopt);
    if (unappended) held.push_back(*unappended);
    if (const auto rest = tokens_after(held, prompt); rest && !rest->empty()) {
        std::vector<std::int32_t> tokens(rest->begin(), rest->end());
        if (unappended) tokens.insert(tokens.begin(), *unappended);
        return tokens;
    }
    for (; !marks_.empty(); marks_.pop_back()) {
        const Checkpoint& state = marks_.back().state;
        const auto rest = tokens_after(session_.tokens().first(state.position), prompt);
        if (!rest) continue;
        session_.restore(state);
        return {rest->begin(), rest->end()};
    }
    session_.reset();
    return prompt.tokens;
}

/// The prompt's tokens behind the text of `held`; nothing when it does not begin with that text, or has a token across
/// its end: what is appended is what a fresh start would append.
std::optional<std::span<const std::int32_t>> ChatSession::tokens_after(std::span<const std::int32_t> held,
                                                                       const Prompt& prompt) const {
    const std::string text = tokenizer_.decode(held);
    if (text.empty() || !prompt.text.starts_with(text)) return std::nullopt;
    std::size_t n_tokens = 0;
    std::size_t size = 0;
    while (size < text.size()) size += tokenizer_.piece(prompt.tokens[n_tokens++]).size();
    if (size != text.size()) return std::nullopt;
    return std::span(prompt.tokens).subspan(n_tokens);
}

/// Appends what rewind() gave; sets the mark behind it. Returns the logits of the prompt's last token.
std::span<const float> ChatSession::prefill(std::span<const std::int32_t> tokens) {
    if (tokens.empty()) return marks_.back().logits;  // the prompt ends at the mark
    const std::size_t n_tail = std::min(n_opening_, tokens.size());
    const auto head = tokens.first(tokens.size() - n_tail);
    std::span<const float> logits;
    if (!head.empty()) {
        logits = session_.append(head);
        set_mark(logits);
    }
    return n_tail > 0 ? session_.append(tokens.last(n_tail)) : logits;
}

void ChatSession::set_mark(std::span<const float> logits) {
    if (marks_.size() == kMaxMarks) marks_.erase(marks_.begin());
    marks_.push_back({session_.checkpoint(), {logits.begin(), logits.end()}});
}

}  // namespace lfm
