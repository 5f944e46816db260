#include "backends/device/free_memory_poll.h"

#include <algorithm>
#include <utility>

namespace lfm {

FreeMemoryPoll::FreeMemoryPoll(Ask ask) : ask_(std::move(ask)) {
    using Clock = std::chrono::steady_clock;
    if (!ask_()) return;
    auto shortest = Clock::duration::max();  // the least delayed by what else runs on this machine
    for (int i = 0; i < 3; ++i) {
        const auto begin = Clock::now();
        ask_();
        shortest = std::min(shortest, Clock::now() - begin);
    }
    const auto steps = (shortest + kPerStep - std::chrono::nanoseconds(1)) / kPerStep;
    every_ = static_cast<std::uint32_t>(std::clamp<std::int64_t>(steps, 1, kMostSteps));
}

std::optional<std::int64_t> FreeMemoryPoll::step() {
    if (every_ == 0 || steps_++ % every_ != 0) return std::nullopt;
    return ask_();
}

}  // namespace lfm
