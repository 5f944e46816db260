// The NEON table. Attention and the gated activation are the portable ones, which compilers turn into vectors there.
#include "backends/cpu/kernels/cpu_features.h"
#include "backends/cpu/kernels/kernels.h"
#include "backends/cpu/kernels/neon/kernels.h"

namespace lfm::cpu {

#if defined(__aarch64__)
namespace {

Kernels make_table() {
    Kernels table = portable_kernels();
    table.name = "neon";
    table.quantise = neon::quantise;
    const auto use = [&table](DType type, void (*run)(const MatmulTile&)) {
        table.matmul[static_cast<std::size_t>(type)].run = run;
    };
    use(DType::kF32, neon::matmul_f32);
    use(DType::kF16, neon::matmul_f16);
    use(DType::kBF16, neon::matmul_bf16);
    use(DType::kQ4_0, neon::matmul_q4_0);
    use(DType::kQ4_1, neon::matmul_q4_1);
    use(DType::kQ5_0, neon::matmul_q5_0);
    use(DType::kQ5_1, neon::matmul_q5_1);
    use(DType::kQ8_0, neon::matmul_q8_0);
    use(DType::kQ2_K, neon::matmul_q2_k);
    use(DType::kQ3_K, neon::matmul_q3_k);
    use(DType::kQ4_K, neon::matmul_q4_k);
    use(DType::kQ5_K, neon::matmul_q5_k);
    use(DType::kQ6_K, neon::matmul_q6_k);
    use(DType::kIQ4_NL, neon::matmul_iq4_nl);
    use(DType::kIQ4_XS, neon::matmul_iq4_xs);
    use(DType::kMXFP4, neon::matmul_mxfp4);
    return table;
}

}  // namespace

const Kernels* neon_kernels() {
    static const bool supported = cpu_features().neon_dot;
    if (!supported) return nullptr;
    static const Kernels table = make_table();
    return &table;
}
#else
const Kernels* neon_kernels() { return nullptr; }
#endif

}  // namespace lfm::cpu
