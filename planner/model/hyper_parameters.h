// Reading the sizes of a model from a file's metadata.
#pragma once

#include "planner/model/model.h"

namespace lfm {

// Bounds far above the family's largest member, so that a damaged file cannot ask for unbounded work.
inline constexpr std::uint32_t kMaxLayers = 1024;
inline constexpr std::uint32_t kMaxWidth = 1 << 20;  // n_embd, n_ff, n_vocab·…
inline constexpr std::uint32_t kMaxExperts = 4096;
inline constexpr std::uint32_t kMaxTaps = 16;
inline constexpr std::uint32_t kMaxHeadDimension = 256;
inline constexpr std::uint32_t kMaxHeadGroup = 32;  // query heads per key/value head

/// Everything but n_vocab, which the embedding's shape decides. Throws as describe_model does.
HyperParameters read_hyper_parameters(const GgufFile& file);

}  // namespace lfm
