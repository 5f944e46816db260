// How fast this machine reads memory: the yardstick beside every achieved GB/s.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace lfm {

/// A smaller span may fit into the processor's caches: its bandwidth says nothing about RAM.
inline constexpr std::size_t kLeastMemoryForBandwidth = std::size_t{256} << 20;

/// Bytes per second of `n_threads` (at least 1) threads reading disjoint parts of `memory`: the best of several passes,
/// so that page faults of the first and bursts of other programs do not count. Blocks for about
/// 4 · memory.size() / bandwidth. 0 for an empty span.
double measure_read_bandwidth(std::span<const std::byte> memory, std::uint32_t n_threads);

/// The same for one pass, for callers that take a median. Starting the threads is left out of the time: it can take
/// longer than the reading. 0 for an empty span.
double read_bandwidth_once(std::span<const std::byte> memory, std::uint32_t n_threads);

}  // namespace lfm
