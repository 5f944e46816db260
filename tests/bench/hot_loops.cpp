// Runs each hot loop once, for valgrind's callgrind to count its instructions
// (tests/backends/cpu/kernels/hot_loops_test.cpp). hot_loops --names lists them in order; without it, each runs inside
// a call of hot_loop().
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backends/cpu/kernels/kernels.h"
#include "tests/backends/cpu/random_blocks.h"

/// What callgrind collects, and dumps after each call.
extern "C" __attribute__((noinline)) void hot_loop(const std::function<void()>& loop) { loop(); }

namespace lfm::test {
namespace {

struct Loop {
    std::string name;
    std::function<void()> run;
};

struct Matmul {
    static constexpr std::uint32_t kInputs = 2048, kRows = 64;

    Matmul(const cpu::Kernels& kernels, DType type, std::uint32_t n_tokens)
        : run(kernels.matmul_for(type).run), y(std::size_t{kRows} * n_tokens) {
        Random random(1);
        weights = random_blocks(type, std::size_t{kRows} * kInputs, random);
        x = random_floats(std::size_t{n_tokens} * kInputs, random);
        quantised.resize(n_tokens * cpu::activation_stride(kInputs));
        for (std::uint32_t t = 0; t < n_tokens; ++t)
            kernels.quantise(x.data() + t * kInputs, kInputs, quantised.data() + t * cpu::activation_stride(kInputs));
        tile.weights = weights.data();
        tile.row_bytes = row_bytes(type, kInputs);
        tile.n_rows = kRows;
        tile.n_in = kInputs;
        tile.x = x.data();
        tile.xq = quantised.data();
        tile.n_tokens = n_tokens;
        tile.y = y.data();
        tile.y_stride = kRows;
    }

    void (*run)(const cpu::MatmulTile&);
    std::vector<std::byte> weights;
    std::vector<float> x, y;
    std::vector<cpu::ActivationBlock> quantised;
    cpu::MatmulTile tile;
};

/// Called with the AVX2 table: valgrind knows no AVX-512.
std::vector<Loop> loops(const cpu::Kernels& kernels) {
    std::vector<Loop> all;
    for (const DType type : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ4_0, DType::kQ8_0, DType::kQ4_K,
                             DType::kQ5_K, DType::kQ6_K, DType::kIQ4_NL}) {
        for (const std::uint32_t n_tokens : {1u, 32u}) {
            const auto matmul = std::make_shared<Matmul>(kernels, type, n_tokens);
            all.push_back({std::string(dtype_name(type)) + " " + std::to_string(n_tokens),
                           [matmul] { matmul->run(matmul->tile); }});
        }
    }
    constexpr std::uint32_t kKeys = 1024, kHeadDim = 64, kHeads = 4;
    struct Rows {
        std::vector<float> x = std::vector<float>(8192, 0.5f), y = std::vector<float>(8192);
        std::vector<cpu::ActivationBlock> quantised = std::vector<cpu::ActivationBlock>(8192 / 32);
        std::vector<std::byte> cache = std::vector<std::byte>(kKeys * kHeadDim * 2);
    };
    const auto rows = std::make_shared<Rows>();
    all.push_back({"attend F16", [&kernels, rows] {
                       cpu::AttendTile tile;
                       tile.q = rows->x.data();
                       tile.n_heads = kHeads;
                       tile.head_dim = kHeadDim;
                       tile.scale = 0.125f;
                       tile.k = tile.v = rows->cache.data();
                       tile.k_stride = tile.v_stride = kHeadDim * 2;
                       tile.n_keys = kKeys;
                       tile.out = rows->y.data();
                       kernels.attend(tile);
                   }});
    all.push_back({"quantise", [&kernels, rows] { kernels.quantise(rows->x.data(), 8192, rows->quantised.data()); }});
    all.push_back(
        {"swiglu", [&kernels, rows] { kernels.swiglu(rows->x.data(), rows->x.data(), rows->y.data(), 8192); }});
    return all;
}

}  // namespace
}  // namespace lfm::test

int main(int argc, char** argv) {
    const lfm::cpu::Kernels* kernels = lfm::cpu::avx2_kernels();
    if (kernels == nullptr) return std::fputs("no AVX2 here\n", stderr), 1;
    for (const lfm::test::Loop& loop : lfm::test::loops(*kernels)) {
        if (argc > 1 && std::strcmp(argv[1], "--names") == 0)
            std::printf("%s\n", loop.name.c_str());
        else
            hot_loop(loop.run);
    }
}
