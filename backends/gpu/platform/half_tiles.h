// Products of small matrices of halves with f32 sums, by the 32 lanes of a set together: the processor's instruction
// where DeviceTraits::multiplies_tiles says that there is one, else an exchange between lanes that is there for tests.
//
// Lane l holds of A [16, 16]: a[0] = row l / 4, columns 2 (l % 4) and the next (the first in the low bits); a[1] = the
// same 8 rows below; a[2], a[3] = the same 8 columns on. Of B [16, 8]: b[0] = rows 2 (l % 4) and the next of column
// l / 4; b[1] = 8 rows below. Of the sums [16, 8]: row l / 4, columns 2 (l % 4) and the next, then 8 rows below.
#pragma once

#include <cstdint>

#include "backends/gpu/platform/arithmetic.h"
#include "backends/gpu/platform/lanes.h"

namespace lfm::gpu {

/// What a lane holds of two neighbouring Bs: columns 0 … 7 and 8 … 15.
struct TwoTiles {
    std::uint32_t left[2], right[2];
};

#if defined(LFM_GPU_CUDA)

/// sums += A · B
__device__ inline void multiply_halves(float (&sums)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    for (int i = 0; i < 2; ++i)
        asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
            : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
            : "r"(a[2 * i]), "r"(a[2 * i + 1]), "r"(b[i]));
#endif
}

/// B's rows lie in shared memory, `stride` halves apart, at multiples of 16 bytes.
__device__ inline TwoTiles load_tile_rows(const std::uint16_t* first, std::uint32_t stride) {
    TwoTiles tiles;
    const auto address =
        static_cast<std::uint32_t>(__cvta_generic_to_shared(first + lane() % 16 * stride + lane() / 16 * 8));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(tiles.left[0]), "=r"(tiles.left[1]), "=r"(tiles.right[0]), "=r"(tiles.right[1])
                 : "r"(address));
    return tiles;
}

/// B's columns lie in shared memory, `stride` halves apart, at multiples of 16 bytes.
__device__ inline TwoTiles load_tile_columns(const std::uint16_t* first, std::uint32_t stride) {
    TwoTiles tiles;
    const std::uint32_t column = lane() % 8 + lane() / 16 * 8, row = lane() / 8 % 2 * 8;
    const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(first + column * stride + row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(tiles.left[0]), "=r"(tiles.left[1]), "=r"(tiles.right[0]), "=r"(tiles.right[1])
                 : "r"(address));
    return tiles;
}

#else

__device__ inline void multiply_halves(float (&sums)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
    const auto low = [](std::uint32_t two) { return float_of_half(static_cast<std::uint16_t>(two & 0xffff)); };
    const auto high = [](std::uint32_t two) { return float_of_half(static_cast<std::uint16_t>(two >> 16)); };
    const std::uint32_t row = lane() / 4, pair = lane() % 4;
    for (std::uint32_t half = 0; half < 2; ++half)
        for (std::uint32_t k = 0; k < 4; ++k) {
            const std::uint32_t upper = lane_value(a[2 * half], 4 * row + k);
            const std::uint32_t lower = lane_value(a[2 * half + 1], 4 * row + k);
            const std::uint32_t left = lane_value(b[half], 4 * (2 * pair) + k);
            const std::uint32_t right = lane_value(b[half], 4 * (2 * pair + 1) + k);
            sums[0] += low(upper) * low(left) + high(upper) * high(left);
            sums[1] += low(upper) * low(right) + high(upper) * high(right);
            sums[2] += low(lower) * low(left) + high(lower) * high(left);
            sums[3] += low(lower) * low(right) + high(lower) * high(right);
        }
}

__device__ inline TwoTiles load_tile_rows(const std::uint16_t* first, std::uint32_t stride) {
    const auto two = [&](std::uint32_t row, std::uint32_t column) {
        const std::uint16_t* at = first + row * stride + column;
        return static_cast<std::uint32_t>(at[0]) | static_cast<std::uint32_t>(at[stride]) << 16;
    };
    const std::uint32_t row = 2 * (lane() % 4), column = lane() / 4;
    return {{two(row, column), two(row + 8, column)}, {two(row, column + 8), two(row + 8, column + 8)}};
}

__device__ inline TwoTiles load_tile_columns(const std::uint16_t* first, std::uint32_t stride) {
    const auto two = [&](std::uint32_t row, std::uint32_t column) {
        const std::uint16_t* at = first + column * stride + row;
        return static_cast<std::uint32_t>(at[0]) | static_cast<std::uint32_t>(at[1]) << 16;
    };
    const std::uint32_t row = 2 * (lane() % 4), column = lane() / 4;
    return {{two(row, column), two(row + 8, column)}, {two(row, column + 8), two(row + 8, column + 8)}};
}

#endif

}  // namespace lfm::gpu
