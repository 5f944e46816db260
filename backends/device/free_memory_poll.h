// Asks a driver now and then what is left of a device's memory: it falls when others take some.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>

namespace lfm {

/// As often as the time it takes allows.
class FreeMemoryPoll {
public:
    /// What asking may take of a step's time on average, and the most steps between two questions.
    static constexpr std::chrono::microseconds kPerStep{20};
    static constexpr std::uint32_t kMostSteps = 32;

    /// Bytes that this process may still take; below zero: it holds more than it should. Nothing where the driver does
    /// not tell.
    using Ask = std::function<std::optional<std::int64_t>()>;

    /// Measures how long one question takes.
    explicit FreeMemoryPoll(Ask ask);

    /// At each step: what is left, when it is time to ask.
    std::optional<std::int64_t> step();
    /// 0: never.
    std::uint32_t steps_between() const { return every_; }

private:
    Ask ask_;
    std::uint32_t every_ = 0;
    std::uint32_t steps_ = 0;
};

}  // namespace lfm
