// One answer as it grows: logits in, tokens to append out; their text, without what a reader is not to see, to a sink.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/session/sampler.h"
#include "runtime/text/stop_strings.h"
#include "runtime/text/think_filter.h"
#include "runtime/text/tokenizer.h"
#include "runtime/text/utf8_stream.h"

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

class Answer {
public:
    /// `before`: the tokens that it follows, for the repeat penalty. The tokenizer outlives it.
    Answer(const GenerationOptions& options, const Tokenizer& tokenizer, std::uint32_t n_vocab,
           std::span<const std::int32_t> before, SegmentSink sink);

    /// Chooses the next token by the logits [n_vocab] of the one before. Returns the token to append, nothing when the
    /// answer has ended.
    std::optional<std::int32_t> next(std::span<const float> logits);
    /// It ends here, for a reason from outside; nothing once it has ended. Hands out the text that still waits.
    void end(EndReason reason);
    bool ended() const { return ended_; }

    /// So far. Of the stats only n_generated.
    Generation& generation() { return generation_; }
    const Generation& generation() const { return generation_; }

private:
    void push(std::string_view bytes);
    void take(const std::vector<Segment>& segments);
    void emit(const Segment& segment);

    const Tokenizer& tokenizer_;
    std::optional<std::uint32_t> n_predict_;
    Sampler sampler_;
    Utf8Stream utf8_;
    ThinkFilter think_;
    StopStrings stops_;
    SegmentSink sink_;
    Generation generation_;
    bool stopped_ = false;  // by a stop string
    bool ended_ = false;
};

}  // namespace lfm
