#include "runtime/session/generator.h"

#include <algorithm>
#include <array>
#include <chrono>

#include "memory/error.h"
#include "runtime/text/stop_strings.h"
#include "runtime/text/utf8_stream.h"

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

/// Control tokens that mean something to whoever reads the text.
constexpr std::array<std::string_view, 4> kShownControls{"<think>", "</think>", "<|tool_call_start|>",
                                                         "<|tool_call_end|>"};

std::string_view shown_piece(const Tokenizer& tokenizer, std::int32_t token) {
    const std::string_view piece = tokenizer.piece(token);
    if (!tokenizer.is_control(token) || std::ranges::find(kShownControls, piece) != kShownControls.end()) return piece;
    return {};
}

/// Bytes of tokens in, segments out: into the sink and into the generation.
class TextFilter {
public:
    TextFilter(const GenerationOptions& options, const SegmentSink& sink, Generation& generation)
        : think_(options.think_start), stops_(options.stop_strings), sink_(sink), generation_(generation) {}

    void push(std::string_view bytes) { take(think_.push(utf8_.push(bytes))); }
    bool stopped() const { return stopped_; }

    /// Hands out what still waits.
    void finish() {
        if (stopped_) return;
        take(think_.push(utf8_.finish()));
        take(think_.finish());
        if (!stopped_) emit({SegmentKind::kVisible, stops_.finish()});
    }

private:
    void take(const std::vector<Segment>& segments) {
        for (const Segment& segment : segments) {
            if (stopped_) return;
            if (segment.kind == SegmentKind::kReasoning) {
                emit({SegmentKind::kVisible, stops_.finish()});  // a stop string does not reach across reasoning
                emit(segment);
                continue;
            }
            StopStrings::Result result = stops_.push(segment.text);
            stopped_ = result.stopped;
            emit({SegmentKind::kVisible, std::move(result.text)});
        }
    }

    void emit(const Segment& segment) {
        if (segment.text.empty()) return;
        (segment.kind == SegmentKind::kVisible ? generation_.answer : generation_.reasoning) += segment.text;
        if (sink_) sink_(segment);
    }

    Utf8Stream utf8_;
    ThinkFilter think_;
    StopStrings stops_;
    const SegmentSink& sink_;
    Generation& generation_;
    bool stopped_ = false;
};

/// The penalty looks back into the prompt.
Sampler make_sampler(const SamplingParams& params, const Session& session) {
    Sampler sampler(params, session.n_vocab());
    const auto tokens = session.tokens();
    const std::size_t n_recent = std::min(tokens.size(), static_cast<std::size_t>(params.repeat_last_n));
    for (const std::int32_t token : tokens.last(n_recent)) sampler.accept(token);
    return sampler;
}

}  // namespace

std::string_view end_reason_name(EndReason reason) {
    switch (reason) {
        case EndReason::kEndToken: return "end_token";
        case EndReason::kStopString: return "stop_string";
        case EndReason::kPredictLimit: return "predict_limit";
        case EndReason::kContextFull: return "context_full";
        case EndReason::kInterrupted: return "interrupted";
    }
    return "";
}

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
    Generation generation;
    TextFilter filter(options, sink, generation);
    Sampler sampler = make_sampler(options.sampling, session_);
    const WorkClock clock(session_);

    const auto run = [&] {
        while (!options.n_predict || generation.stats.n_generated < *options.n_predict) {
            if (generation.unappended) {
                if (session_.position() == session_.n_ctx()) return EndReason::kContextFull;
                logits = session_.append({&*generation.unappended, 1});
                ++generation.stats.n_steps;
            }
            const std::int32_t token = sampler.sample(logits);
            generation.unappended.reset();
            if (tokenizer_.is_end(token)) return EndReason::kEndToken;
            sampler.accept(token);
            generation.unappended = token;
            generation.raw += tokenizer_.piece(token);
            generation.tokens.push_back(token);
            ++generation.stats.n_generated;
            filter.push(shown_piece(tokenizer_, token));
            if (filter.stopped()) return EndReason::kStopString;
        }
        return EndReason::kPredictLimit;
    };
    try {
        generation.end = run();
    } catch (const Error& error) {
        if (error.code() != ErrorCode::kInterrupted) throw;
        generation.end = EndReason::kInterrupted;
    }
    filter.finish();
    generation.stats.generation_seconds = clock.seconds();
    return generation;
}

}  // namespace lfm
