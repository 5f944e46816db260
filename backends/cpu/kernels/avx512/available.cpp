// The AVX-512 table: matmul with the types of Liquid's files; the rest is AVX2's.
#include "backends/cpu/kernels/avx2/kernels.h"
#include "backends/cpu/kernels/avx512/kernels.h"
#include "backends/cpu/kernels/cpu_features.h"
#include "backends/cpu/kernels/kernels.h"

namespace lfm::cpu {

#if defined(__x86_64__)
namespace {

/// For few tokens memory is the limit, and eight rows at a time come faster from there than sixteen did: AVX2's kernel.
/// The bits are the same.
void matmul_q8_0(const MatmulTile& tile) {
    tile.n_tokens < kFewestUnpacked ? avx2::matmul_q8_0(tile) : avx512::matmul_q8_0(tile);
}

Kernels make_table(const Kernels& avx2) {
    Kernels table = avx2;
    table.name = "avx512";
    const auto use = [&table](DType type, void (*run)(const MatmulTile&)) {
        table.matmul[static_cast<std::size_t>(type)].run = run;
    };
    use(DType::kF32, avx512::matmul_f32);
    use(DType::kF16, avx512::matmul_f16);
    use(DType::kBF16, avx512::matmul_bf16);
    use(DType::kQ4_0, avx512::matmul_q4_0);
    use(DType::kQ8_0, matmul_q8_0);
    use(DType::kQ4_K, avx512::matmul_q4_k);
    use(DType::kQ5_K, avx512::matmul_q5_k);
    use(DType::kQ6_K, avx512::matmul_q6_k);
    return table;
}

}  // namespace

const Kernels* avx512_kernels() {
    static const bool supported = cpu_features().avx512;
    if (!supported) return nullptr;
    static const Kernels table = make_table(*avx2_kernels());
    return &table;
}
#else
const Kernels* avx512_kernels() { return nullptr; }
#endif

}  // namespace lfm::cpu
