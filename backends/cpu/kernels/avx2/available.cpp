// The AVX2 table.
#include "backends/cpu/kernels/avx2/kernels.h"
#include "backends/cpu/kernels/cpu_features.h"
#include "backends/cpu/kernels/kernels.h"

namespace lfm::cpu {

#if defined(__x86_64__)
namespace {

void attend(const AttendTile& tile) {
    if (tile.head_dim % 8 == 0)
        avx2::attend(tile);
    else
        portable_kernels().attend(tile);
}

Kernels make_table() {
    Kernels table{.name = "avx2", .quantise = avx2::quantise, .swiglu = avx2::swiglu, .attend = attend};
    const auto use = [&table](DType type, void (*run)(const MatmulTile&), ActivationForm form) {
        table.matmul[static_cast<std::size_t>(type)] = {run, form};
    };
    use(DType::kF32, avx2::matmul_f32, ActivationForm::kF32);
    use(DType::kF16, avx2::matmul_f16, ActivationForm::kF32);
    use(DType::kBF16, avx2::matmul_bf16, ActivationForm::kF32);
    use(DType::kQ4_0, avx2::matmul_q4_0, ActivationForm::kQ8);
    use(DType::kQ4_1, avx2::matmul_q4_1, ActivationForm::kQ8);
    use(DType::kQ5_0, avx2::matmul_q5_0, ActivationForm::kQ8);
    use(DType::kQ5_1, avx2::matmul_q5_1, ActivationForm::kQ8);
    use(DType::kQ8_0, avx2::matmul_q8_0, ActivationForm::kQ8);
    use(DType::kQ2_K, avx2::matmul_q2_k, ActivationForm::kQ8);
    use(DType::kQ3_K, avx2::matmul_q3_k, ActivationForm::kQ8);
    use(DType::kQ4_K, avx2::matmul_q4_k, ActivationForm::kQ8);
    use(DType::kQ5_K, avx2::matmul_q5_k, ActivationForm::kQ8);
    use(DType::kQ6_K, avx2::matmul_q6_k, ActivationForm::kQ8);
    use(DType::kIQ4_NL, avx2::matmul_iq4_nl, ActivationForm::kQ8);
    use(DType::kIQ4_XS, avx2::matmul_iq4_xs, ActivationForm::kQ8);
    use(DType::kMXFP4, avx2::matmul_mxfp4, ActivationForm::kQ8);
    return table;
}

}  // namespace

const Kernels* avx2_kernels() {
    static const bool supported = cpu_features().avx2;
    if (!supported) return nullptr;
    static const Kernels table = make_table();
    return &table;
}
#else
const Kernels* avx2_kernels() { return nullptr; }
#endif

}  // namespace lfm::cpu
