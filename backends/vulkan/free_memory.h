// What the driver says is left of a heap for this process: it falls when others take memory.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "backends/vulkan/gpu.h"

namespace lfm::vulkan {

/// Bytes of the heap that this process may still take; below zero: it holds more than it should. Nothing where the
/// driver does not tell (VK_EXT_memory_budget).
std::optional<std::int64_t> left_in_heap(const GpuFacts& facts, std::uint32_t heap);

/// Asks the driver now and then: as often as the time it takes allows.
class FreeMemoryPoll {
public:
    /// What asking may take of a step's time on average, and the most steps between two questions.
    static constexpr std::chrono::microseconds kPerStep{20};
    static constexpr std::uint32_t kMostSteps = 32;

    /// Measures how long one question takes.
    FreeMemoryPoll(const GpuFacts& facts, std::uint32_t heap);

    /// At each step: what is left, when it is time to ask.
    std::optional<std::int64_t> step();
    /// 0: never.
    std::uint32_t steps_between() const { return every_; }

private:
    const GpuFacts& facts_;
    std::uint32_t heap_;
    std::uint32_t every_ = 0;
    std::uint32_t steps_ = 0;
};

}  // namespace lfm::vulkan
