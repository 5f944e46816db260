// What the operations with weights share: quantised inputs, and how weights are cut among groups.
#pragma once

#include <cstdint>
#include <string_view>

#include "backends/device/weight_check.h"
#include "backends/vulkan/operations/operations.h"

namespace lfm::vulkan {

/// Quantised weights are multiplied with 8-bit activations (unless ActivationKind::kFloat), the others with f32.
constexpr bool is_quantised(DType type) { return type != DType::kF32 && type != DType::kF16 && type != DType::kBF16; }

/// As `Input` in shaders/matmul_input.glsl.
struct InputAddresses {
    std::uint64_t x = 0, q = 0, scale = 0, sums = 0;
};

/// The scratch areas of a quantised input.
struct QuantisedAreas {
    ScratchUse q, scale, sums;
};
inline constexpr QuantisedAreas kInputAreas{ScratchUse::kQuantised, ScratchUse::kQuantisedScale,
                                            ScratchUse::kQuantisedSum};
inline constexpr QuantisedAreas kHiddenAreas{ScratchUse::kHidden, ScratchUse::kHiddenScale, ScratchUse::kHiddenSum};

void reserve_quantised(ScratchSizes& sizes, const QuantisedAreas& areas, std::size_t n_rows, std::size_t n_cols);

/// Rows of f32 to quantise: rows_each for every row of the set.
struct QuantiseRows {
    std::uint64_t x = 0;
    std::uint32_t n_cols = 0;
    RowSet rows = RowSet::kTokens;
    std::uint32_t rows_each = 1;
    QuantisedAreas areas = kInputAreas;
};
/// Where the input is, in both forms. Dispatches nothing.
InputAddresses input_addresses(const Recorder& recorder, const QuantiseRows& rows);
/// Does nothing where the device multiplies with activations as they are.
void quantise(Recorder& recorder, const QuantiseRows& rows);

/// Invocations of a group that spreads each row of n_in weights over all of them.
constexpr std::uint32_t vector_threads(std::uint32_t n_in) { return n_in <= 32 * 32 ? 32 : 64; }

inline constexpr std::uint32_t kTileRows = 64;  // of matmul_tile.glsl
inline constexpr std::uint32_t kMaxGroups = 65535;

}  // namespace lfm::vulkan
