// The order in which threads run between their meetings. What depends on it lacks a barrier: tests run in both.
#pragma once

#include <cstdint>

namespace lfm::gpu::emulation {

enum class Order : std::uint8_t { kForward, kReverse };

/// The order of threads, of warps and of groups in all launches of the process that begin from now on. At first
/// kForward, or kReverse where the environment has LFM_EMULATION_ORDER=reverse.
void set_order(Order order);
Order order();

}  // namespace lfm::gpu::emulation
