// The order in which threads run between their meetings. What depends on it lacks a barrier: tests run in both.
#pragma once

#include <cstdint>

namespace lfm::gpu::emulation {

enum class Order : std::uint8_t { kForward, kReverse };

/// Of threads, of warps, and of groups; of the process, for launches that begin from now on. At first forward, or what
/// the environment's LFM_EMULATION_ORDER says: "reverse".
void set_order(Order order);
Order order();

}  // namespace lfm::gpu::emulation
