// From tokens to text: sample, append, detokenise, split off reasoning, look for stop strings, hand out.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/session/sampler.h"
#include "runtime/session/session.h"
#include "runtime/text/think_filter.h"
#include "runtime/text/tokenizer.h"

namespace lfm {

struct GenerationOptions {
    SamplingParams sampling;
    std::optional<std::uint32_t> n_predict;  // most tokens; nothing: until the model ends or the context is full
    std::vector<std::string> stop_strings;   // looked for in the answer, not in the reasoning
    ThinkStart think_start = ThinkStart::kOutside;
};

enum class EndReason { kEndToken, kStopString, kPredictLimit, kContextFull, kInterrupted };
/// "end_token", "stop_string", "predict_limit", "context_full", "interrupted".
std::string_view end_reason_name(EndReason reason);

struct GenerationStats {
    std::uint32_t n_prompt = 0;     // tokens in the session when generation began
    std::uint32_t n_reused = 0;     // of these, how many it held before
    std::uint32_t n_generated = 0;  // tokens of the text; the end token does not count
    std::uint32_t n_steps = 0;      // passes through the model while generating: the first token needs none
    double prompt_seconds = 0;
    double generation_seconds = 0;
};

struct Generation {
    EndReason end = EndReason::kEndToken;
    std::string raw;                   // the bytes of all tokens: tags and stop string in, end token out
    std::vector<std::int32_t> tokens;  // of `raw`
    std::string answer;                // what the sink got, by kind
    std::string reasoning;
    std::optional<std::int32_t> unappended;  // the last token of `raw`, when the session does not hold it
    std::uint32_t n_dropped = 0;             // turns of a chat that were forgotten to make room
    GenerationStats stats;
};

/// Gets the text as it comes, in whole characters; control tokens other than think tags and tool-call marks are left
/// out. What it throws ends the generation.
using SegmentSink = std::function<void(const Segment&)>;

class Generator {
public:
    /// Both outlive it.
    Generator(Session& session, const Tokenizer& tokenizer) : session_(session), tokenizer_(tokenizer) {}

    /// Appends `prompt` (not empty), then generates. Throws Error{kContextFull} when the prompt does not fit. An
    /// interrupted prompt gives kInterrupted without text.
    Generation complete(std::span<const std::int32_t> prompt, const GenerationOptions& options,
                        const SegmentSink& sink);

    /// Goes on from the logits [n_vocab] of the session's last token. Fills only the generation's part of the stats.
    Generation generate(std::span<const float> logits, const GenerationOptions& options, const SegmentSink& sink);

private:
    Session& session_;
    const Tokenizer& tokenizer_;
};

}  // namespace lfm
