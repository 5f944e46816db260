// How fast lfm-eval went, beside what was predicted.
#pragma once

#include <map>
#include <string>

#include "tools/common/placed_model.h"

namespace lfm::tools {

class EvalSpeed {
public:
    /// `placed` outlives it.
    explicit EvalSpeed(const PlacedModel& placed) : placed_(placed) {}

    /// After a step of n tokens, all of which got logits.
    void add(std::uint32_t n_tokens);
    /// "512 tokens at 1234 tok/s (NAME (cuda)), predicted 1240 tok/s". Device and prediction only where a device takes
    /// part and was not lost.
    std::string text() const;

private:
    const PlacedModel& placed_;
    std::map<std::uint32_t, std::uint64_t> steps_;  // number of steps, by their tokens
    std::uint64_t n_tokens_ = 0;
    double seconds_ = 0;
};

}  // namespace lfm::tools
