// Sizes that all backends of devices share.
#pragma once

#include <cstdint>

namespace lfm::needs {

constexpr std::uint64_t round_up(std::uint64_t n, std::uint64_t to) { return (n + to - 1) / to * to; }

/// Alignment of a piece of memory that many tensors share (runtime/tensors/device_arena.cpp).
inline constexpr std::uint64_t kArenaPiece = 16;

/// Of a step as kernels read it (backends/device/step_image.h): its header, each sequence, each page copy.
inline constexpr std::uint64_t kStepHeaderBytes = 88, kStepSequenceBytes = 40, kStepPageCopyBytes = 12;
/// Of one expert in the device's copy of an expert table (backends/device/expert_mirrors.h).
inline constexpr std::uint64_t kMirroredExpertBytes = 32;

/// What an area of scratch memory takes: it begins at a multiple of 256 bytes and has 16 spare bytes behind it.
constexpr std::uint64_t scratch_area(std::uint64_t size) { return size > 0 ? round_up(size + 16, 256) : 0; }

}  // namespace lfm::needs
