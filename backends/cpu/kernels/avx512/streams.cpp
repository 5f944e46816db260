// Streams of AVX-512's kernels: one instruction multiplies, sums and widens, whatever the type.
#include "backends/cpu/kernels/avx512/kernels.h"
#include "backends/cpu/kernels/avx512/lanes.h"
#include "backends/cpu/kernels/stream_chains.h"

namespace lfm::cpu::LFM_AVX512_NAMESPACE {
namespace {

constexpr int kChains = 16;

void multiply_bytes(std::uint64_t rounds) {
    const __m512i w = _mm512_set1_epi8(3), x = _mm512_set1_epi8(5);
    run_chains<__m512i, kChains>(rounds, [&](__m512i& sum) {
        sum = _mm512_dpbusd_epi32(sum, w, x);
        __asm__ volatile("" : "+v"(sum));
    });
}

void multiply_floats(std::uint64_t rounds) {
    const __m512 w = _mm512_set1_ps(0.5f), x = _mm512_set1_ps(0.25f);
    run_chains<__m512, kChains>(rounds, [&](__m512& sum) {
        sum = _mm512_fmadd_ps(w, x, sum);
        __asm__ volatile("" : "+v"(sum));
    });
}

}  // namespace

MultiplyStream multiply_stream(DType type) {
    switch (type) {
        case DType::kQ4_0:
        case DType::kQ8_0:
        case DType::kQ4_K:
        case DType::kQ5_K:
        case DType::kQ6_K: return {multiply_bytes, kChains * 64};
        case DType::kF32:
        case DType::kF16:
        case DType::kBF16: return {multiply_floats, kChains * 16};
        default: return {};
    }
}

}  // namespace lfm::cpu::LFM_AVX512_NAMESPACE
