#include "runtime/session/answer.h"

#include <algorithm>
#include <array>

namespace lfm {
namespace {

/// Control tokens that mean something to whoever reads the text.
constexpr std::array<std::string_view, 4> kShownControls{"<think>", "</think>", "<|tool_call_start|>",
                                                         "<|tool_call_end|>"};

std::string_view shown_piece(const Tokenizer& tokenizer, std::int32_t token) {
    const std::string_view piece = tokenizer.piece(token);
    if (!tokenizer.is_control(token) || std::ranges::find(kShownControls, piece) != kShownControls.end()) return piece;
    return {};
}

/// The penalty looks back into the prompt.
Sampler make_sampler(const SamplingParams& params, std::uint32_t n_vocab, std::span<const std::int32_t> before) {
    Sampler sampler(params, n_vocab);
    const std::size_t n_recent = std::min(before.size(), static_cast<std::size_t>(params.repeat_last_n));
    for (const std::int32_t token : before.last(n_recent)) sampler.accept(token);
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

Answer::Answer(const GenerationOptions& options, const Tokenizer& tokenizer, std::uint32_t n_vocab,
               std::span<const std::int32_t> before, SegmentSink sink)
    : tokenizer_(tokenizer),
      n_predict_(options.n_predict),
      sampler_(make_sampler(options.sampling, n_vocab, before)),
      think_(options.think_start),
      stops_(options.stop_strings),
      sink_(std::move(sink)) {
    if (n_predict_ == 0u) end(EndReason::kPredictLimit);
}

std::optional<std::int32_t> Answer::next(std::span<const float> logits) {
    if (ended_) return std::nullopt;
    const std::int32_t token = sampler_.sample(logits);
    generation_.unappended.reset();
    if (tokenizer_.is_end(token)) {
        end(EndReason::kEndToken);
        return std::nullopt;
    }
    sampler_.accept(token);
    generation_.unappended = token;
    generation_.raw += tokenizer_.piece(token);
    generation_.tokens.push_back(token);
    ++generation_.stats.n_generated;
    push(shown_piece(tokenizer_, token));
    if (stopped_)
        end(EndReason::kStopString);
    else if (n_predict_ && generation_.stats.n_generated >= *n_predict_)
        end(EndReason::kPredictLimit);
    return ended_ ? std::nullopt : std::optional(token);
}

void Answer::end(EndReason reason) {
    if (ended_) return;
    ended_ = true;
    generation_.end = reason;
    if (stopped_) return;
    take(think_.push(utf8_.finish()));
    take(think_.finish());
    if (!stopped_) emit({SegmentKind::kVisible, stops_.finish()});
}

void Answer::push(std::string_view bytes) { take(think_.push(utf8_.push(bytes))); }

void Answer::take(const std::vector<Segment>& segments) {
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

void Answer::emit(const Segment& segment) {
    if (segment.text.empty()) return;
    (segment.kind == SegmentKind::kVisible ? generation_.answer : generation_.reasoning) += segment.text;
    if (sink_) sink_(segment);
}

}  // namespace lfm
