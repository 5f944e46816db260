// Streams of AVX2's kernels; the types differ in how often sums are widened (q*.cpp say why).
#include "backends/cpu/kernels/avx2/kernels.h"
#include "backends/cpu/kernels/avx2/lanes.h"
#include "backends/cpu/kernels/stream_chains.h"

namespace lfm::cpu::avx2 {
namespace {

/// Hides a value from the compiler's optimisations.
inline __m256i unknown(__m256i v) {
    __asm__ volatile("" : "+x"(v));
    return v;
}

constexpr int kChains = 4;  // blocks side by side, so that latency does not show

/// A round is one block for each chain: eight quads of columns, eight rows side by side. kPerWidening products fit 16
/// bits.
template <int kPerWidening, bool kSigned>
void multiply_blocks(std::uint64_t rounds) {
    const __m256i w = unknown(_mm256_set1_epi8(3)), x = unknown(_mm256_set1_epi8(5));
    const auto product = [&] {
        return _mm256_maddubs_epi16(w, kSigned ? _mm256_sign_epi8(unknown(x), w) : unknown(x));
    };
    __m256i totals[kChains] = {};
    for (std::uint64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 8
        for (int quad = 0; quad < 8; quad += kPerWidening) {
#pragma GCC unroll 4
            for (__m256i& total : totals) {
                __m256i sum = product();
#pragma GCC unroll 8
                for (int more = 1; more < kPerWidening; ++more) add_in_order16(sum, product());
                if (kPerWidening == 8)
                    total = unknown(add_pairs(sum));
                else
                    add_in_order32(total, add_pairs(sum));
            }
        }
    }
    for (const __m256i& total : totals) unknown(total);
}

constexpr int kFloatChains = 12;

void multiply_floats(std::uint64_t rounds) {
    const __m256 w = _mm256_set1_ps(0.5f), x = _mm256_set1_ps(0.25f);
    run_chains<__m256, kFloatChains>(rounds, [&](__m256& sum) {
        sum = _mm256_fmadd_ps(w, x, sum);
        __asm__ volatile("" : "+x"(sum));
    });
}

}  // namespace

MultiplyStream multiply_stream(DType type) {
    constexpr std::uint32_t kBlocks = kChains * 8 * 32;
    switch (type) {
        case DType::kQ4_0:
        case DType::kQ4_K: return {multiply_blocks<8, false>, kBlocks};
        case DType::kQ5_K: return {multiply_blocks<4, false>, kBlocks};
        case DType::kQ6_K: return {multiply_blocks<2, false>, kBlocks};
        case DType::kQ8_0: return {multiply_blocks<1, true>, kBlocks};
        case DType::kF32:
        case DType::kF16:
        case DType::kBF16: return {multiply_floats, kFloatChains * 8};
        default: return {};
    }
}

}  // namespace lfm::cpu::avx2
