// The loop of a session that answers alone: append, choose, hand out.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/session/answer.h"
#include "runtime/session/session.h"
#include "runtime/text/tokenizer.h"

namespace lfm {

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
