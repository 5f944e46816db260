// Where rows of 64 bytes lie in shared memory, and which thread brings what, so that nothing that lanes read or write
// together shares a bank (tests/backends/gpu/tiles_test.cpp counts).
#pragma once

#include <cstdint>

#include "backends/gpu/platform/loads.h"

namespace lfm::gpu {

/// The place of weight row `row`: rows that a set's lanes read together lie side by side.
__device__ inline std::uint32_t place_of_weight_row(std::uint32_t row) {
    return row / 32 * 32 + row % 4 * 8 + row % 32 / 4;
}
/// Where 16 bytes of the row at `place` lie, its part 0 to 3; in units of 16 bytes.
__device__ inline std::uint32_t place_of_part(std::uint32_t place, std::uint32_t part) {
    return 4 * place + (part ^ ((place / 2 + place / 8) & 3));
}

/// The matrices of 16 weight rows, or of 16 rows of x, from place `first` on, and 32 columns: what an A consists of, or
/// two Bs. The second 32 columns of each row lie at the same place with kOtherBlock's bit changed.
enum class Side : std::uint8_t { kWeights, kInput };
template <Side side>
struct SixteenRows {
    __device__ std::uint32_t operator()(std::uint32_t n) const {
        const std::uint32_t row = side == Side::kWeights ? n % 16 : n / 16 * 8 + n % 8;
        return sizeof(Words4) * place_of_part(first + row, side == Side::kWeights ? n / 16 : n / 8 % 2);
    }
    std::uint32_t first;
};
using WeightMatrices = SixteenRows<Side::kWeights>;
using InputMatrices = SixteenRows<Side::kInput>;
inline constexpr std::uint32_t kOtherBlock = 2 * sizeof(Words4);

// What thread `me` brings, so that what a set writes together lies in different banks: which half of a stage, and of
// which rows.
__device__ inline std::uint32_t fast_half(std::uint32_t me) { return me / 8 % 2; }
__device__ inline std::uint32_t fast_weight_row(std::uint32_t me) { return me / 16 * 8 + me % 8; }
__device__ inline std::uint32_t fast_input_row(std::uint32_t me) {
    return me / 2 % 2 + me / 16 % 2 * 2 + me / 4 % 2 * 4 + me / 32 * 8;
}
__device__ inline std::uint32_t fast_scale_row(std::uint32_t me) { return me % 8 + me / 16 * 8; }

}  // namespace lfm::gpu
