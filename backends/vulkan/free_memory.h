// What the driver says is left of a heap for this process: it falls when others take memory.
#pragma once

#include <cstdint>
#include <optional>

#include "backends/vulkan/gpu.h"

namespace lfm::vulkan {

/// Bytes of the heap that this process may still take; below zero: it holds more than it should. Nothing where the
/// driver does not tell (VK_EXT_memory_budget).
std::optional<std::int64_t> left_in_heap(const GpuFacts& facts, std::uint32_t heap);

}  // namespace lfm::vulkan
