// What the shared cases leave out of matmul and embed: the ways to multiply compared with each other, odd numbers of
// rows at odd addresses, any number of processors, any number of output rows, neighbours in one launch, ids outside the
// table.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "memory/error.h"
#include "tests/backends/cpu/naive_weights.h"
#include "tests/backends/cpu/random_blocks.h"
#include "tests/backends/gpu/kernel_backend.h"
#include "tests/backends/operation_cases/bed.h"
#include "tests/backends/operation_cases/operands.h"
#include "tests/backends/operation_cases/reference.h"

namespace lfm::gpu::test {
namespace {

using operation_cases::Noise;
namespace reference = operation_cases::reference;

constexpr std::uint32_t kMostTokens = 130;
constexpr std::size_t kSpare = 16;  // readable bytes behind device memory

/// A weight of random blocks, its rows `padding` bytes apart, beginning `offset` bytes behind a multiple of 64.
struct Weight {
    Weight(DType type, std::uint32_t n_out, std::uint32_t n_in, std::size_t offset = 0, std::size_t padding = 0) {
        lfm::test::Random random(n_in + n_out);
        const std::size_t bytes = row_bytes(type, n_in), stride = bytes + padding;
        memory.resize(64 + offset + stride * n_out + kSpare);
        const std::size_t begin = 64 - reinterpret_cast<std::uintptr_t>(memory.data()) % 64 + offset;
        for (std::uint32_t row = 0; row < n_out; ++row) {
            const std::vector<std::byte> blocks = lfm::test::random_blocks(type, n_in, random);
            std::ranges::copy(blocks, &memory[begin + row * stride]);
            for (const double value : lfm::test::naive_weights(type, blocks.data(), n_in)) values.push_back(value);
        }
        view = {&memory[begin], type, n_out, n_in, stride};
    }

    std::vector<std::byte> memory;
    std::vector<double> values;
    WeightView view;
};

/// Σ(a−b)² relative to the size of the sums' terms: a few sums may cancel to nearly nothing.
double nmse(std::span<const float> found, const reference::Sums& expected) {
    return operation_cases::compare(found.first(expected.values.size()), expected).nmse();
}

class GpuMatmul : public KernelTest {
protected:
    static constexpr DeviceTraits kPlain{.n_processors = 2};
    static constexpr DeviceTraits kFast{.n_processors = 2, .multiplies_tiles = true};
    static constexpr DeviceTraits kFloats{.n_processors = 2, .activations = ActivationKind::kFloat};

    struct Result {
        std::vector<float> out;
        std::vector<std::string> kernels;
    };
    /// x [n, n_in] times one weight. Outputs that are not written stay NaN.
    static Result multiply(const Weight& weight, const std::vector<float>& x, StepParams step,
                           const DeviceTraits& traits, RowSet rows = RowSet::kTokens) {
        KernelBackend backend({.n_batch = kMostTokens, .n_ctx = kMostTokens}, traits);
        Result result{std::vector<float>(std::size_t{kMostTokens} * weight.view.n_out, NAN), {}};
        std::vector<float> operand = x;
        MatmulArgs args{.x = {operand.data(), weight.view.n_in}, .n_outputs = 1, .rows = rows};
        args.outputs[0] = {weight.view, {result.out.data(), weight.view.n_out}};
        const Operation operation = args;
        const Program program = backend.record({&operation, 1}, step);
        backend.submit(program);
        backend.wait();
        result.kernels = backend.kernels_of(program);
        return result;
    }

    /// The NMSE of the first n rows; NaN when others were written.
    static double error_of(const Result& result, const Weight& weight, const std::vector<float>& x, std::size_t n,
                           reference::Activations activations = reference::Activations::kQuantised) {
        const std::size_t n_in = weight.view.n_in, n_out = weight.view.n_out;
        if (!std::ranges::all_of(std::span(result.out).subspan(n * n_out), [](float y) { return std::isnan(y); }))
            return NAN;
        const auto quantised = reference::as_multiplied(std::span(x).first(n * n_in), weight.view.type, activations);
        return nmse(result.out, reference::matmul(quantised, weight.values, weight.view.n_in));
    }

    static std::vector<float> input(std::uint32_t n_in) {
        return Noise(7).activations(std::size_t{kMostTokens} * n_in);
    }
    static std::uint32_t odd_width(const DTypeInfo& info) { return info.block_size == 1 ? 75 : info.block_size * 3; }
};
INSTANTIATE_TEST_SUITE_P(Threads, GpuMatmul, kBothOrders, order_name);

bool has(const std::vector<std::string>& names, std::string_view name) {
    return std::ranges::find(names, name) != names.end();
}

TEST_P(GpuMatmul, EveryWayToMultiplyGivesTheSame) {
    for (const DTypeInfo& info : all_dtypes()) {
        const bool is_half = info.type == DType::kF16 || info.type == DType::kBF16;
        for (const std::uint32_t n_out : {1u, 63u, 130u}) {
            const Weight weight(info.type, n_out, odd_width(info));
            const std::vector<float> x = input(weight.view.n_in);
            for (const std::uint32_t n : {1u, 2u, 31u, 33u, 64u, 65u, kMostTokens}) {
                SCOPED_TRACE(std::string(info.name) + ", " + std::to_string(n_out) + " rows, " + std::to_string(n) +
                             " tokens");
                const Result plain = multiply(weight, x, {.n_tokens = n}, kPlain);
                EXPECT_LT(error_of(plain, weight, x, n), 1e-10);
                if (n == 1) continue;
                const Result fast = multiply(weight, x, {.n_tokens = n}, kFast);
                EXPECT_LT(error_of(fast, weight, x, n), is_half ? 1e-6 : 1e-10);
                if (n_out != 63 || n > 33) continue;
                const Result floats = multiply(weight, x, {.n_tokens = n}, kFloats);
                EXPECT_LT(error_of(floats, weight, x, n, reference::Activations::kPlain), 1e-10);
            }
        }
    }
}

TEST_P(GpuMatmul, TakesTheKernelsItShould) {
    const Weight quantised(DType::kQ4_0, 40, 64), half(DType::kF16, 40, 64), single(DType::kF32, 40, 64);
    const std::vector<float> x = input(64);
    const auto kernels = [&](const Weight& weight, std::uint32_t n, const DeviceTraits& traits) {
        return multiply(weight, x, {.n_tokens = n}, traits).kernels;
    };
    EXPECT_EQ(kernels(quantised, 1, kFast), std::vector<std::string>{"matmul_vector"});
    EXPECT_EQ(kernels(quantised, 2, kFast), (std::vector<std::string>{"quantise", "matmul_tile_fast"}));
    EXPECT_EQ(kernels(quantised, 2, kPlain), (std::vector<std::string>{"quantise", "matmul_tile"}));
    EXPECT_EQ(kernels(half, 2, kFast), std::vector<std::string>{"matmul_tile_half"});
    EXPECT_EQ(kernels(half, 2, kPlain), std::vector<std::string>{"matmul_tile_thin"});
    EXPECT_EQ(kernels(single, 2, kFast), std::vector<std::string>{"matmul_tile_thin"});
    EXPECT_EQ(kernels(Weight(DType::kF32, 129, 64), 2, kFast), std::vector<std::string>{"matmul_tile_float"});
    for (const Weight* weight : {&quantised, &half})
        for (const std::uint32_t n : {1u, 2u})
            EXPECT_EQ(kernels(*weight, n, kFloats),
                      std::vector<std::string>{weight == &half ? "matmul_tile_thin" : "matmul_tile_float"});
}

/// f16 has a small range, activations have a large one.
TEST_P(GpuMatmul, NoActivationIsLostToTheRangeOfHalves) {
    for (const DType type : {DType::kF16, DType::kBF16}) {
        const Weight weight(type, 70, 96);
        for (const float scale : {1e-30f, 1e-6f, 1e6f, 1e30f}) {
            std::vector<float> x = input(96);
            for (float& each : x) each *= scale;
            const Result result = multiply(weight, x, {.n_tokens = 20}, kFast);
            EXPECT_LT(error_of(result, weight, x, 20), 1e-6) << dtype_name(type) << ' ' << scale;
        }
    }
}

TEST_P(GpuMatmul, ManyWeightRowsTakeWideTiles) {
    const Weight weight(DType::kQ4_0, 129, 64);
    const std::vector<float> x = input(64);
    EXPECT_TRUE(has(multiply(weight, x, {.n_tokens = 2}, kFast).kernels, "matmul_tile_wide"));
    EXPECT_TRUE(has(multiply(weight, x, {.n_tokens = 2}, {.n_processors = 4, .multiplies_tiles = true}).kernels,
                    "matmul_tile_fast"))
        << "groups for some processors only";
}

/// Whatever other rows the step has, and whichever of them it is.
TEST_P(GpuMatmul, ARowHasTheSameBitsInAnyStep) {
    constexpr std::uint32_t kFirst = 37;  // where steps of fewer rows begin
    for (const DType type :
         {DType::kQ4_0, DType::kQ8_0, DType::kQ4_K, DType::kQ6_K, DType::kQ2_K, DType::kF16, DType::kBF16, DType::kF32})
        for (const std::uint32_t n_out : {63u, 130u}) {  // the latter in wide tiles
            const Weight weight(type, n_out, type == DType::kQ4_0 ? 96 : 256);
            const std::vector<float> x = input(weight.view.n_in);
            const std::vector<float> all = multiply(weight, x, {.n_tokens = kMostTokens}, kFast).out;
            const std::vector<float> behind(x.begin() + kFirst * weight.view.n_in, x.end());
            for (const std::uint32_t n : {2u, 15u, 33u, 64u, 93u}) {
                const std::vector<float> some = multiply(weight, behind, {.n_tokens = n}, kFast).out;
                EXPECT_EQ(std::memcmp(some.data(), &all[kFirst * n_out], n * n_out * sizeof(float)), 0)
                    << dtype_name(type) << ", " << n_out << " weight rows, " << n << " of " << kMostTokens;
            }
            const Result narrow =
                multiply(weight, x, {.n_tokens = kMostTokens}, {.n_processors = 1000, .multiplies_tiles = true});
            EXPECT_EQ(std::memcmp(narrow.out.data(), all.data(), all.size() * sizeof(float)), 0) << dtype_name(type);
        }
}

TEST_P(GpuMatmul, RowsMayLieApartAtOddPlaces) {
    for (const DTypeInfo& info : all_dtypes()) {
        SCOPED_TRACE(info.name);
        const std::size_t unit = std::gcd(info.block_bytes, 16u);
        for (const std::size_t offset : {unit, 3 * unit}) {
            const Weight weight(info.type, 5, info.block_size == 1 ? 72 : info.block_size, offset, 3 * unit);
            const std::vector<float> x = input(weight.view.n_in);
            for (const std::uint32_t n : {1u, 3u}) {
                EXPECT_LT(error_of(multiply(weight, x, {.n_tokens = n}, kPlain), weight, x, n), 1e-10);
                EXPECT_LT(error_of(multiply(weight, x, {.n_tokens = n}, kFast), weight, x, n), 1e-7);
            }
        }
    }
}

TEST_P(GpuMatmul, AnyNumberOfProcessorsSharesTheRows) {
    for (const DType type : {DType::kQ8_0, DType::kQ6_K, DType::kF16})
        for (const std::uint32_t n_out : {1u, 17u, 300u})
            for (const std::uint32_t n_in : {256u, 1536u}) {
                const Weight weight(type, n_out, n_in);
                const std::vector<float> x = input(n_in);
                for (const std::uint32_t n_processors : {0u, 1u, 3u, 132u}) {
                    const Result result = multiply(weight, x, {.n_tokens = 1}, {.n_processors = n_processors});
                    EXPECT_LT(error_of(result, weight, x, 1), 1e-10) << n_out << ' ' << n_processors;
                }
            }
}

TEST_P(GpuMatmul, InputsWiderThanAGroupCanHold) {
    const Weight weight(DType::kQ4_0, 3, 12288 + 32);
    const std::vector<float> x = input(weight.view.n_in);
    const Result result = multiply(weight, x, {.n_tokens = 1}, kFast);
    EXPECT_FALSE(has(result.kernels, "matmul_vector"));
    EXPECT_LT(error_of(result, weight, x, 1), 1e-10);
}

TEST_P(GpuMatmul, AnyNumberOfOutputsOfAStep) {
    const Weight weight(DType::kQ6_K, 100, 256);
    const std::vector<float> x = input(256);
    for (const std::uint32_t n_tokens : {1u, kMostTokens})
        for (const std::uint32_t n_outputs : {0u, 1u, 4u, 5u, kMostTokens}) {
            if (n_outputs > n_tokens) continue;
            const Result result =
                multiply(weight, x, {.n_tokens = n_tokens, .n_outputs = n_outputs}, kFast, RowSet::kOutputs);
            EXPECT_LE(error_of(result, weight, x, n_outputs), 1e-10) << n_outputs << " of " << n_tokens;
        }
}

TEST_P(GpuMatmul, NeighboursOfOneTypeAreOneLaunch) {
    const std::vector<float> x = input(64);
    for (const auto& types :
         {std::array{DType::kQ4_0, DType::kQ4_0, DType::kQ4_0}, std::array{DType::kQ4_0, DType::kQ8_0, DType::kQ8_0},
          std::array{DType::kQ8_0, DType::kF16, DType::kQ8_0}}) {
        const std::array<Weight, 3> weights{Weight(types[0], 33, 64), Weight(types[1], 7, 64),
                                            Weight(types[2], 65, 64)};
        std::array<std::vector<float>, 3> outs;
        std::vector<float> operand = x;
        MatmulArgs args{.x = {operand.data(), 64}, .n_outputs = 3};
        for (std::size_t i = 0; i < 3; ++i) {
            outs[i].assign(weights[i].view.n_out, NAN);
            args.outputs[i] = {weights[i].view, {outs[i].data(), weights[i].view.n_out}};
        }
        KernelBackend backend({.n_batch = 1, .n_ctx = 1}, kFast);
        const Operation operation = args;
        const StepParams step{.n_tokens = 1};
        const Program program = backend.record({&operation, 1}, step);
        backend.submit(program);
        backend.wait();
        const std::size_t n_runs = 1 + (types[1] != types[0]) + (types[2] != types[1]);
        EXPECT_EQ(backend.kernels_of(program), std::vector<std::string>(n_runs, "matmul_vector"));
        for (std::size_t i = 0; i < 3; ++i) {
            const auto quantised =
                reference::as_multiplied(std::span(x).first(64), types[i], reference::Activations::kQuantised);
            EXPECT_LT(nmse(outs[i], reference::matmul(quantised, weights[i].values, 64)), 1e-10) << i;
        }
    }
}

std::optional<ErrorCode> refusal(const WeightView& view, std::uint32_t n_in) {
    KernelBackend backend({.n_batch = 2, .n_ctx = 2}, {});
    MatmulArgs args{.x = {nullptr, n_in}, .n_outputs = 1};
    args.outputs[0] = {view, {nullptr, view.n_out}};
    const Operation operation = args;
    try {
        backend.record({&operation, 1}, {.n_tokens = 1});
    } catch (const Error& error) {
        return error.code();
    }
    return std::nullopt;
}

TEST_P(GpuMatmul, RefusesWeightsThatItCannotMultiply) {
    const Weight weight(DType::kQ4_K, 2, 256);
    EXPECT_EQ(refusal(weight.view, 256), std::nullopt);
    WeightView odd = weight.view;
    odd.data += 2;
    EXPECT_EQ(refusal(odd, 256), ErrorCode::kUnsupportedModel) << "loads of words cannot reach it";
    EXPECT_EQ(refusal({weight.view.data, DType::kQ4_0, 2, 40, 36}, 40), ErrorCode::kUnsupportedModel) << "no blocks";
    EXPECT_EQ(refusal(weight.view, 512), ErrorCode::kUnsupportedModel) << "another width";
}

TEST_P(GpuMatmul, EmbedGivesZerosForIdsOutsideTheTable) {
    const Weight table(DType::kQ6_K, 9, 512);
    const std::vector<std::int32_t> ids{8, -1, 0, 9, 1 << 30};
    std::vector<float> found(5 * 512, NAN);
    KernelBackend backend({.n_batch = 5, .n_ctx = 5}, {});
    const StepParams step{.n_tokens = 5, .token_ids = ids.data()};
    const Operation operation = EmbedArgs{table.view, {found.data(), 512}};
    backend.submit(backend.record({&operation, 1}, step));
    backend.wait();
    for (std::size_t i = 0; i < found.size(); ++i) {
        const std::int32_t id = ids[i / 512];
        const bool inside = id >= 0 && id < 9;
        const double expected = inside ? table.values[static_cast<std::size_t>(id) * 512 + i % 512] : 0;
        ASSERT_NEAR(found[i], expected, 1e-6 * std::fabs(expected)) << i;
    }
}

}  // namespace
}  // namespace lfm::gpu::test
