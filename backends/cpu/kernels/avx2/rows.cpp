// Activations to 8 bits, and the gated activation of a feed-forward layer.
#include <bit>
#include <limits>

#include "backends/cpu/kernels/avx2/kernels.h"
#include "backends/cpu/kernels/avx2/math.h"

namespace lfm::cpu::avx2 {
namespace {

constexpr float kSmallestNormal = 0x1p-126f;
constexpr std::int32_t kInfinityBits = 0x7f800000;

/// 32 quotients, rounded to nearest even, in order.
inline __m256i round_to_bytes(const __m256 (&x)[4], float scale) {
    const __m256 divisor = _mm256_set1_ps(scale);
    __m256i q[4];
    for (int i = 0; i < 4; ++i) q[i] = _mm256_cvtps_epi32(_mm256_div_ps(x[i], divisor));
    const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
    return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

inline std::int32_t largest_lane(__m256i v) {
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    return _mm_cvtsi128_si32(_mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1)));
}

/// The sums of bytes 0..15 and of 16..31, in the low and the high 16 bits.
inline std::int32_t sums_of_16(__m256i q) {
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), q);
    const __m256i fours = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
    // lower half: four sums of the first 16, upper half: of the second
    const __m128i sums = _mm_packs_epi32(_mm256_castsi256_si128(fours), _mm256_extracti128_si256(fours, 1));
    const __m128i eights = _mm_madd_epi16(sums, _mm_set1_epi16(1));
    const __m128i both = _mm_add_epi32(eights, _mm_srli_epi64(eights, 32));
    return _mm_cvtsi128_si32(_mm_packs_epi32(_mm_shuffle_epi32(both, 0x08), both));
}

inline __m256 silu_times(__m256 gate, __m256 up) {
    // The bound keeps -inf / inf away: the result is 0 there.
    gate = _mm256_max_ps(_mm256_set1_ps(-120), gate);
    const __m256 denominator = _mm256_add_ps(_mm256_set1_ps(1), exp(_mm256_sub_ps(_mm256_setzero_ps(), gate)));
    return _mm256_mul_ps(_mm256_div_ps(gate, denominator), up);
}

}  // namespace

void quantise(const float* x, std::size_t n, ActivationBlock* to) {
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
    for (std::size_t i = 0; i < n; i += ActivationBlock::kSize, ++to) {
        // Magnitudes compared as integers: the same order, with infinity and the NaNs above all numbers.
        __m256 block[4];
        __m256i magnitudes = _mm256_setzero_si256();
        for (int part = 0; part < 4; ++part) {
            block[part] = _mm256_loadu_ps(x + i + 8 * part);
            magnitudes = _mm256_max_epi32(magnitudes, _mm256_and_si256(magnitude, _mm256_castps_si256(block[part])));
        }
        const std::int32_t largest = largest_lane(magnitudes);
        float block_scale = std::bit_cast<float>(largest) / 127;
        if (block_scale < kSmallestNormal) block_scale = 0;  // a subnormal scale is too coarse for |q| <= 127
        if (largest >= kInfinityBits) block_scale = std::numeric_limits<float>::quiet_NaN();
        to->scale = block_scale;
        const __m256i bytes = block_scale > 0 ? round_to_bytes(block, block_scale) : _mm256_setzero_si256();
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to->q), bytes);
        const std::int32_t sums = sums_of_16(bytes);
        __builtin_memcpy(to->sum, &sums, sizeof sums);
    }
}

void swiglu(const float* gate, const float* up, float* y, std::size_t n) {
    std::size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        _mm256_storeu_ps(y + i, silu_times(_mm256_loadu_ps(gate + i), _mm256_loadu_ps(up + i)));
    }
    if (i == n) return;
    const __m256i mask = first_lanes(static_cast<std::uint32_t>(n - i));
    const __m256 last = silu_times(_mm256_maskload_ps(gate + i, mask), _mm256_maskload_ps(up + i, mask));
    _mm256_maskstore_ps(y + i, mask, last);
}

}  // namespace lfm::cpu::avx2
