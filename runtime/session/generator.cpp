#include "runtime/session/generator.h"

#include <chrono>
#include <utility>

#include "memory/error.h"

namespace lfm {
namespace {

/// Seconds since it was made, but for those in which the session was paused.
class WorkClock {
public:
    explicit WorkClock(const Session& session) : session_(session), paused_(session.paused_seconds()) {}
    double seconds() const {
        const std::chrono::duration<double> all = std::chrono::steady_clock::now() - begin_;
        return all.count() - (session_.paused_seconds() - paused_);
    }

private:
    const Session& session_;
    double paused_;
    std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace

Generation Generator::complete(std::span<const std::int32_t> prompt, const GenerationOptions& options,
                               const SegmentSink& sink) {
    const std::uint32_t n_reused = session_.position();
    const WorkClock clock(session_);
    std::span<const float> logits;
    try {
        logits = session_.append(prompt);
    } catch (const Error& error) {
        if (error.code() != ErrorCode::kInterrupted) throw;
        return {.end = EndReason::kInterrupted};
    }
    const double prompt_seconds = clock.seconds();
    const std::uint32_t n_prompt = session_.position();
    Generation generation = generate(logits, options, sink);
    generation.stats.n_prompt = n_prompt;
    generation.stats.n_reused = n_reused;
    generation.stats.prompt_seconds = prompt_seconds;
    return generation;
}

Generation Generator::generate(std::span<const float> logits, const GenerationOptions& options,
                               const SegmentSink& sink) {
    Answer answer(options, tokenizer_, session_.n_vocab(), session_.tokens(), sink);
    Generation& generation = answer.generation();
    const WorkClock clock(session_);
    try {
        while (const auto token = answer.ended() ? std::nullopt : answer.next(logits)) {
            if (session_.position() == session_.n_ctx()) {
                answer.end(EndReason::kContextFull);
                break;
            }
            logits = session_.append({&*token, 1});
            ++generation.stats.n_steps;
        }
    } catch (const Error& error) {
        if (error.code() != ErrorCode::kInterrupted) throw;
        answer.end(EndReason::kInterrupted);
    }
    generation.stats.generation_seconds = clock.seconds();
    return std::move(generation);
}

}  // namespace lfm
