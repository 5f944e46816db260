// Products of small matrices of signed bytes, or of numbers of 16 bits, by the 32 lanes of a set together: the
// processor's instruction where DeviceTraits::multiplies_tiles says that there is one; in the emulation plain loops
// over what the lanes hold. half_tiles.h has the products that attention uses.
//
// Which lane holds what is fixed by NVIDIA's manual (PTX ISA, warp-level matrix instructions: matrix fragments for
// mma.m16n8k16 and mma.m16n8k32 of integers, and for mma.m16n8k16 of halves). With g = lane / 4 and t = lane % 4, and a
// word of four bytes or two numbers as the unit of columns of A and of rows of B:
//     A [16, 8 units]:  a[0] = row g, unit t; a[1] = row g + 8, unit t; a[2], a[3] = the same, unit t + 4
//     B [8 units, 8]:   b[0] = unit t, column g; b[1] = unit t + 4, column g
//     sums [16, 8]:     row g, columns 2 t and 2 t + 1; row g + 8, the same
#pragma once

#include <cstdint>

#include "backends/gpu/platform/arithmetic.h"
#include "backends/gpu/platform/lanes.h"

namespace lfm::gpu {

// On processors without such instructions the functions below do nothing: nothing calls them there.

/// Whether any processor of the language has them.
#if defined(LFM_GPU_HIP)
inline constexpr bool kHasTiles = false;
#else
inline constexpr bool kHasTiles = true;
#endif

#if !defined(LFM_GPU_CUDA) && !defined(LFM_GPU_HIP)

/// sums[i][j] += A[i] · B[j], by reading what other lanes hold: product(a, b, sum) adds the product of two units. A is
/// n units wide, B n units high. The lanes meet twice, however many products there are.
template <std::uint32_t n, typename Unit, typename Sum, std::size_t n_a, std::size_t n_b, typename Product>
void multiply_by_looking(Sum (&sums)[n_a][n_b][4], const Unit (&a)[n_a][n / 2], const Unit (&b)[n_b][n / 4],
                         const Product& product, emulation::SourcePlace place = emulation::SourcePlace::current()) {
    struct Fragments {
        const Unit (*a)[n / 2];
        const Unit (*b)[n / 4];
    } const mine{a, b};
    emulation::show_to_lanes(&mine, place);
    const auto of_lane = [](std::uint32_t from) -> const Fragments& {
        return *static_cast<const Fragments*>(emulation::shown_by_lane(from));
    };
    const std::uint32_t g = lane() / 4, t = lane() % 4;
    for (std::uint32_t four = 0; four < n / 4; ++four)
        for (std::uint32_t k = 0; k < 4; ++k) {
            const Fragments& of_row = of_lane(4 * g + k);
            const Fragments& of_left = of_lane(8 * t + k);
            const Fragments& of_right = of_lane(8 * t + 4 + k);
            for (std::size_t i = 0; i < n_a; ++i)
                for (std::size_t j = 0; j < n_b; ++j) {
                    const Unit upper = of_row.a[i][2 * four], lower = of_row.a[i][2 * four + 1];
                    const Unit left = of_left.b[j][four], right = of_right.b[j][four];
                    Sum(&to)[4] = sums[i][j];
                    to[0] = product(upper, left, to[0]);
                    to[1] = product(upper, right, to[1]);
                    to[2] = product(lower, left, to[2]);
                    to[3] = product(lower, right, to[3]);
                }
        }
    emulation::sync_lanes(place);  // all have looked
}

template <std::uint32_t n, typename Unit, typename Sum, typename Product>
void multiply_by_looking(Sum (&sums)[4], const Unit (&a)[n / 2], const Unit (&b)[n / 4], const Product& product,
                         emulation::SourcePlace place = emulation::SourcePlace::current()) {
    Sum all[1][1][4];
    Unit all_a[1][n / 2], all_b[1][n / 4];
    for (std::uint32_t i = 0; i < 4; ++i) all[0][0][i] = sums[i];
    for (std::uint32_t i = 0; i < n / 2; ++i) all_a[0][i] = a[i];
    for (std::uint32_t i = 0; i < n / 4; ++i) all_b[0][i] = b[i];
    multiply_by_looking<n>(all, all_a, all_b, product, place);
    for (std::uint32_t i = 0; i < 4; ++i) sums[i] = all[0][0][i];
}

#endif

/// sums += A [16, 32] · B [32, 8]
__device__ inline void multiply_bytes([[maybe_unused]] std::int32_t (&sums)[4],
                                      [[maybe_unused]] const std::uint32_t (&a)[4],
                                      [[maybe_unused]] const std::uint32_t (&b)[2]) {
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#elif !defined(LFM_GPU_CUDA) && !defined(LFM_GPU_HIP)
    multiply_by_looking<8>(sums, a, b, dot4);
#endif
}

/// sums += A [16, 16] · B [16, 8]
__device__ inline void multiply_bytes([[maybe_unused]] std::int32_t (&sums)[4],
                                      [[maybe_unused]] const std::uint32_t (&a)[2],
                                      [[maybe_unused]] const std::uint32_t (&b)[1]) {
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
        : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(b[0]));
#elif !defined(LFM_GPU_CUDA) && !defined(LFM_GPU_HIP)
    multiply_by_looking<4>(sums, a, b, dot4);
#endif
}

/// sums[i][j] = first + A[i] · B[j], A [16, 32] and B [32, 8], or A [16, 16] and B [16, 8].
template <std::size_t n_a, std::size_t n_b, std::size_t n_words>
__device__ inline void multiply_all_bytes([[maybe_unused]] std::int32_t (&sums)[n_a][n_b][4],
                                          [[maybe_unused]] const std::uint32_t (&a)[n_a][n_words],
                                          [[maybe_unused]] const std::uint32_t (&b)[n_b][n_words / 2],
                                          [[maybe_unused]] std::int32_t first) {
#if __CUDA_ARCH__ >= 800
#pragma unroll
    for (std::size_t j = 0; j < n_b; ++j)
#pragma unroll
        for (std::size_t i = 0; i < n_a; ++i) {
            std::int32_t(&to)[4] = sums[i][j];
            if constexpr (n_words == 4)
                asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                    "{%10,%11,%12,%13};"
                    : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                    : "r"(a[i][0]), "r"(a[i][1]), "r"(a[i][2]), "r"(a[i][3]), "r"(b[j][0]), "r"(b[j][1]), "r"(first),
                      "r"(first), "r"(first), "r"(first));
            else
                asm("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%7,%8,%9,%10};"
                    : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                    : "r"(a[i][0]), "r"(a[i][1]), "r"(b[j][0]), "r"(first), "r"(first), "r"(first), "r"(first));
        }
#elif !defined(LFM_GPU_CUDA) && !defined(LFM_GPU_HIP)
    for (auto& of_a : sums)
        for (auto& of_b : of_a)
            for (std::size_t i = 0; i < 4; ++i) of_b[i] = first;
    multiply_by_looking<2 * n_words>(sums, a, b, dot4);
#endif
}

/// How 16 bits encode a number: as a half, or as the upper half of an f32 ("BF16").
enum class SixteenBits : std::uint8_t { kHalf, kUpper };

/// Rounds two numbers to 16 bits each, to nearest, ties to even; `low` goes to the low 16 bits.
template <SixteenBits kind>
__device__ inline std::uint32_t two_of(float low, float high) {
    std::uint32_t two = 0;
#if __CUDA_ARCH__ >= 800
    if constexpr (kind == SixteenBits::kHalf)
        asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(two) : "f"(high), "f"(low));
    else
        asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(two) : "f"(high), "f"(low));
#else
    const auto upper_of = [](float value) {
        const std::uint32_t bits = bits_of_float(value);
        if ((bits & 0x7fffffff) > 0x7f800000) return bits >> 16 | 0x40u;  // a NaN stays one
        return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    };
    if constexpr (kind == SixteenBits::kHalf)
        two = static_cast<std::uint32_t>(half_of_float(low)) | static_cast<std::uint32_t>(half_of_float(high)) << 16;
    else
        two = upper_of(low) | upper_of(high) << 16;
#endif
    return two;
}
template <SixteenBits kind>
__device__ inline float first_of(std::uint32_t two) {
    if constexpr (kind == SixteenBits::kHalf) return float_of_half(static_cast<std::uint16_t>(two & 0xffff));
    return float_of_bits(two << 16);
}
template <SixteenBits kind>
__device__ inline float second_of(std::uint32_t two) {
    return first_of<kind>(two >> 16);
}

/// sums[i][j] += A[i] · B[j], A [16, 16] and B [16, 8] of numbers of 16 bits; a unit is two of them.
template <SixteenBits kind, std::size_t n_a, std::size_t n_b>
__device__ inline void add_products_of_16_bits([[maybe_unused]] float (&sums)[n_a][n_b][4],
                                               [[maybe_unused]] const std::uint32_t (&a)[n_a][4],
                                               [[maybe_unused]] const std::uint32_t (&b)[n_b][2]) {
#if __CUDA_ARCH__ >= 800
#pragma unroll
    for (std::size_t j = 0; j < n_b; ++j)
#pragma unroll
        for (std::size_t i = 0; i < n_a; ++i) {
            float(&to)[4] = sums[i][j];
            if constexpr (kind == SixteenBits::kHalf)
                asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                    "{%0,%1,%2,%3};"
                    : "+f"(to[0]), "+f"(to[1]), "+f"(to[2]), "+f"(to[3])
                    : "r"(a[i][0]), "r"(a[i][1]), "r"(a[i][2]), "r"(a[i][3]), "r"(b[j][0]), "r"(b[j][1]));
            else
                asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                    "{%0,%1,%2,%3};"
                    : "+f"(to[0]), "+f"(to[1]), "+f"(to[2]), "+f"(to[3])
                    : "r"(a[i][0]), "r"(a[i][1]), "r"(a[i][2]), "r"(a[i][3]), "r"(b[j][0]), "r"(b[j][1]));
        }
#elif !defined(LFM_GPU_CUDA) && !defined(LFM_GPU_HIP)
    multiply_by_looking<8>(sums, a, b, [](std::uint32_t x, std::uint32_t y, float sum) {
        return sum + first_of<kind>(x) * first_of<kind>(y) + second_of<kind>(x) * second_of<kind>(y);
    });
#endif
}

}  // namespace lfm::gpu
