// Products of small matrices of signed bytes, or of numbers of ten bits after the point ("TF32"), by the 32 lanes of a
// set together: the processor's instruction where DeviceTraits::multiplies_tiles says that there is one; in the
// emulation plain loops over what the lanes hold. half_tiles.h has those of halves.
//
// Which lane holds what is fixed by NVIDIA's manual (PTX ISA, warp-level matrix instructions: matrix fragments for
// mma.m16n8k16 and mma.m16n8k32 of integers, and for mma.m16n8k8). With g = lane / 4 and t = lane % 4, and a word of
// four bytes or one number as the unit of columns of A and of rows of B:
//     A [16, 8 units]:  a[0] = row g, unit t; a[1] = row g + 8, unit t; a[2], a[3] = the same, unit t + 4
//     B [8 units, 8]:   b[0] = unit t, column g; b[1] = unit t + 4, column g
//     sums [16, 8]:     row g, columns 2 t and 2 t + 1; row g + 8, the same
#pragma once

#include <cstdint>

#include "backends/gpu/platform/arithmetic.h"
#include "backends/gpu/platform/lanes.h"

namespace lfm::gpu {

// Processors that have no such instructions have no such products: nothing calls them there.

/// Whether any processor of the language has them.
#if defined(LFM_GPU_HIP)
inline constexpr bool kHasTiles = false;
#else
inline constexpr bool kHasTiles = true;
#endif

#if !defined(LFM_GPU_CUDA) && !defined(LFM_GPU_HIP)

/// By looking at what other lanes hold: product(a, b, sum) of units, A and B n units wide.
template <std::uint32_t n, typename Unit, typename Sum, typename Product>
void multiply_by_looking(Sum (&sums)[4], const Unit (&a)[n / 2], const Unit (&b)[n / 4], const Product& product,
                         emulation::SourcePlace place = emulation::SourcePlace::current()) {
    struct Fragments {
        const Unit *a, *b;
    } const mine{a, b};
    emulation::show_to_lanes(&mine, place);
    const auto of_lane = [](std::uint32_t from) -> const Fragments& {
        return *static_cast<const Fragments*>(emulation::shown_by_lane(from));
    };
    const std::uint32_t g = lane() / 4, t = lane() % 4;
    for (std::uint32_t four = 0; four < n / 4; ++four)
        for (std::uint32_t k = 0; k < 4; ++k) {
            const Unit upper = of_lane(4 * g + k).a[2 * four], lower = of_lane(4 * g + k).a[2 * four + 1];
            const Unit left = of_lane(8 * t + k).b[four], right = of_lane(8 * t + 4 + k).b[four];
            sums[0] = product(upper, left, sums[0]);
            sums[1] = product(upper, right, sums[1]);
            sums[2] = product(lower, left, sums[2]);
            sums[3] = product(lower, right, sums[3]);
        }
    emulation::sync_lanes(place);  // all have looked
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

/// The nearest of ten bits after the point, ties away from zero; a NaN stays one.
__device__ inline float rounded_to_tf32(float value) {
#if defined(LFM_GPU_CUDA) && __CUDA_ARCH__ >= 800
    std::uint32_t bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
    return float_of_bits(bits);
#else
    const std::uint32_t bits = bits_of_float(value);
    if ((bits & 0x7f800000) == 0x7f800000) return value;
    return float_of_bits((bits + 0x1000) & ~0x1fffu);
#endif
}

/// sums += A [16, 8] · B [8, 8] of rounded numbers.
__device__ inline void multiply_tf32([[maybe_unused]] float (&sums)[4], [[maybe_unused]] const float (&a)[4],
                                     [[maybe_unused]] const float (&b)[2]) {
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(bits_of_float(a[0])), "r"(bits_of_float(a[1])), "r"(bits_of_float(a[2])), "r"(bits_of_float(a[3])),
          "r"(bits_of_float(b[0])), "r"(bits_of_float(b[1])));
#elif !defined(LFM_GPU_CUDA) && !defined(LFM_GPU_HIP)
    multiply_by_looking<8>(sums, a, b, [](float x, float y, float sum) { return sum + x * y; });
#endif
}

}  // namespace lfm::gpu
