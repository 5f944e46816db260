// What the shared cases leave out of attention: heads and groups of any size, long contexts whose keys are shared out
// among many groups, their replays at every kind of position, and tiles of halves beside plain ones.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>

#include "memory/error.h"
#include "tests/backends/gpu/kernel_backend.h"
#include "tests/backends/operation_cases/operands.h"
#include "tests/backends/operation_cases/place.h"
#include "tests/backends/operation_cases/reference.h"
#include "tests/backends/step_sequence.h"

namespace lfm::gpu::test {
namespace {

using namespace operation_cases;

constexpr std::uint32_t kMostTokens = 40;

struct Heads {
    std::uint32_t head_dim, n_head_kv, n_group;
};
struct CacheTypes {
    DType k, v;
};

/// A cache of random keys and values and kMostTokens random queries; cache rows after the step read as NaN.
class Attention {
public:
    Attention(const Heads& heads, const CacheTypes& types, std::uint32_t n_ctx, const DeviceTraits& traits)
        : heads_(heads), n_ctx_(n_ctx), backend_({.n_batch = kMostTokens, .n_ctx = n_ctx}, traits) {
        Noise noise(heads.head_dim + heads.n_group);
        const std::size_t n_kv = std::size_t{heads.n_head_kv} * heads.head_dim, n_q = n_kv * heads.n_group;
        q_ = noise.values(kMostTokens * n_q, 2);
        k_bytes_ = reference::stored(types.k, noise.values(n_ctx * n_kv));
        v_bytes_ = reference::stored(types.v, noise.values(n_ctx * n_kv));
        k_ = lfm::test::naive_weights(types.k, k_bytes_.data(), n_ctx * n_kv);
        v_ = lfm::test::naive_weights(types.v, v_bytes_.data(), n_ctx * n_kv);
        args_ = {
            .q = {put(q_), static_cast<std::uint32_t>(n_q)},
            .cache = {place_.put(k_bytes_), place_.put(v_bytes_), types.k, types.v, heads.n_head_kv, heads.head_dim},
            .out = {put(q_), static_cast<std::uint32_t>(n_q)}};
    }

    /// The NMSE of the step's results; NaN when one of them is.
    double run(std::uint32_t position, std::uint32_t n) {
        const std::size_t n_kv = std::size_t{heads_.n_head_kv} * heads_.head_dim, n_seen = (position + n) * n_kv;
        hide_after(position + n);
        compute(position, n);
        const auto expected =
            reference::attention(std::span(q_).first(std::size_t{n} * args_.q.n_cols), std::span(k_).first(n_seen),
                                 std::span(v_).first(n_seen),
                                 {n, position, heads_.n_head_kv * heads_.n_group, heads_.n_head_kv, heads_.head_dim});
        lfm::test::Nmse nmse;
        for (std::size_t i = 0; i < expected.size(); ++i) nmse.add(args_.out.data[i], expected[i]);
        return nmse.value();
    }
    std::span<const float> compute(std::uint32_t position, std::uint32_t n) {
        const std::size_t n_out = std::size_t{kMostTokens} * args_.out.n_cols;
        std::fill_n(args_.out.data, n_out, NAN);
        step_.n_tokens = n;
        lfm::test::follow(step_, sequence_, position);
        auto& program = n == 1 ? one_ : many_;
        if (!program) program = backend_.record(std::array<Operation, 1>{args_}, step_);
        backend_.submit(*program);
        backend_.wait();
        EXPECT_TRUE(n == kMostTokens || std::isnan(args_.out.data[n * args_.out.n_cols])) << "a row too many";
        return {args_.out.data, std::size_t{n} * args_.out.n_cols};
    }
    std::vector<std::string> kernels(std::uint32_t n) { return backend_.kernels_of(n == 1 ? *one_ : *many_); }

    /// Into how many parts the keys are split for one token.
    std::uint32_t n_splits() { return backend_.grid_of(*one_).x.groups; }

    const AttentionArgs& args() const { return args_; }

private:
    float* put(const std::vector<float>& values) {
        return reinterpret_cast<float*>(place_.put(std::as_bytes(std::span(values))));
    }
    /// Rows that are not written yet read as NaN.
    void hide_after(std::uint32_t n) {
        const auto hide = [&](std::byte* there, const std::vector<std::byte>& bytes) {
            const std::size_t begin = bytes.size() / n_ctx_ * n;
            std::copy(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(begin), there);
            std::fill(there + begin, there + bytes.size(), std::byte{0xff});
        };
        hide(args_.cache.k, k_bytes_);
        hide(args_.cache.v, v_bytes_);
    }

    Heads heads_;
    std::uint32_t n_ctx_;
    KernelBackend backend_;
    HostPlace place_;
    StepParams step_;
    StepSequence sequence_;
    std::vector<float> q_;
    std::vector<std::byte> k_bytes_, v_bytes_;
    std::vector<double> k_, v_;
    AttentionArgs args_;
    std::optional<Program> one_, many_;
};

constexpr CacheTypes kHalves{DType::kF16, DType::kF16}, kBlocks{DType::kQ8_0, DType::kQ8_0};
constexpr DeviceTraits kPlain{.n_processors = 4}, kTiles{.n_processors = 4, .multiplies_tiles = true};
constexpr double kPlainBar = 1e-10, kHalvesBar = 1e-6;

class GpuAttention : public KernelTest {};
INSTANTIATE_TEST_SUITE_P(Threads, GpuAttention, kBothOrders, order_name);

TEST_P(GpuAttention, HeadsOfAnySize) {
    using enum DType;
    struct Case {
        Heads heads;
        CacheTypes types;
    };
    for (const auto& [heads, types] :
         {Case{{32, 1, 1}, kHalves}, Case{{64, 2, 3}, kBlocks}, Case{{64, 1, 40}, {kF16, kF32}},
          Case{{96, 2, 5}, {kQ8_0, kF16}}, Case{{128, 1, 20}, {kF32, kF32}}, Case{{256, 2, 12}, {kF16, kQ8_0}},
          Case{{160, 1, 2}, {kF32, kQ8_0}}, Case{{36, 1, 2}, {kF16, kF32}}, Case{{32, 1, 3}, kBlocks},
          Case{{128, 2, 7}, kBlocks}}) {
        SCOPED_TRACE(std::to_string(heads.head_dim) + " x " + std::to_string(heads.n_group));
        Attention attention(heads, types, 80, kPlain);
        for (const auto& [position, n] : {std::pair{0u, 1u}, {0u, 2u}, {3u, 33u}, {79u, 1u}, {40u, 40u}})
            EXPECT_LT(attention.run(position, n), kPlainBar) << n << " tokens from " << position;
    }
}

TEST_P(GpuAttention, ALongContextAtEveryKindOfPosition) {
    constexpr std::uint32_t kContext = 8200;
    for (const CacheTypes& types : {kHalves, kBlocks, CacheTypes{DType::kF32, DType::kQ8_0}})
        for (const std::uint32_t n_processors : {1u, 30u, 140u}) {
            SCOPED_TRACE(std::to_string(n_processors) + " processors, " + std::string(dtype_name(types.k)));
            Attention attention({64, 2, 4}, types, kContext, {.n_processors = n_processors});
            for (const std::uint32_t position : {0u, 62u, 63u, 64u, 127u, 128u, 1000u, 4095u, 4096u, kContext - 1})
                EXPECT_LT(attention.run(position, 1), kPlainBar) << "one token at " << position;
        }
    Attention attention({64, 1, 4}, kHalves, kContext, kPlain);
    for (const std::uint32_t position : {1u, 2047u, kContext - 9})
        EXPECT_LT(attention.run(position, 9), kPlainBar) << "nine tokens from " << position;
}

TEST_P(GpuAttention, KeysOfOneTokenAreSharedOutAsTheDeviceIsLarge) {
    const auto n_splits = [](std::uint32_t n_processors, std::uint32_t n_ctx) {
        Attention attention({64, 8, 4}, kHalves, n_ctx, {.n_processors = n_processors});
        attention.run(n_ctx - 1, 1);
        EXPECT_EQ(attention.kernels(1), std::vector<std::string>{"attention_split_f16_64"});
        return attention.n_splits();
    };
    EXPECT_EQ(n_splits(30, 64), 1u);
    EXPECT_EQ(n_splits(1, 300), 1u);
    EXPECT_EQ(n_splits(30, 300), 5u);
}

TEST_P(GpuAttention, TilesOfHalvesAreNearPlainOnes) {
    for (const CacheTypes& types : {kHalves, kBlocks})
        for (const Heads& heads : {Heads{64, 2, 4}, Heads{128, 1, 3}, Heads{64, 1, 1}}) {
            SCOPED_TRACE(std::to_string(heads.head_dim) + " x " + std::to_string(heads.n_group));
            Attention attention(heads, types, 170, kTiles);
            for (const auto& [position, n] : {std::pair{0u, 2u}, {0u, 40u}, {61u, 3u}, {63u, 17u}, {130u, 40u}})
                EXPECT_LT(attention.run(position, n), kHalvesBar) << n << " tokens from " << position;
            EXPECT_TRUE(attention.kernels(2)[0].starts_with("attention_half_tile")) << attention.kernels(2)[0];
        }
}

/// The NaN is in the first key/value head, at a position that all tokens see: the other head's results do not change.
TEST_P(GpuAttention, NaNInACacheReachesTheHeadsThatSeeIt) {
    for (const DeviceTraits& traits : {kPlain, kTiles})
        for (const CacheTypes& types : {kHalves, kBlocks, CacheTypes{DType::kF32, DType::kF32}})
            for (const std::uint32_t n : {1u, 12u}) {
                SCOPED_TRACE(std::string(dtype_name(types.k)) + ", " + std::to_string(n) + " tokens");
                Attention attention({64, 2, 2}, types, 200, traits);
                const auto before = attention.compute(150, n);
                const std::vector<float> kept(before.begin(), before.end());
                // Two bytes are a half, a block's scale, or a float's upper half.
                const std::size_t row = row_bytes(types.k, 128);
                const std::size_t at = 97 * row + (types.k == DType::kF32 ? 2 : 0);
                std::fill_n(attention.args().cache.k + at, 2, std::byte{0xff});
                const auto found = attention.compute(150, n);
                for (std::size_t i = 0; i < found.size(); ++i)
                    if (i % 256 < 128)
                        ASSERT_FALSE(std::isfinite(found[i])) << i;
                    else
                        ASSERT_EQ(found[i], kept[i]) << i;
            }
}

/// Its score is infinite, of either sign, and the first token sees no other key.
TEST_P(GpuAttention, AnInfiniteKeyAloneLeavesNothing) {
    for (const DeviceTraits& traits : {kPlain, kTiles})
        for (const std::uint32_t n : {1u, 2u}) {
            Attention attention({64, 1, 4}, kHalves, 80, traits);
            const std::uint16_t infinity = 0x7c00;
            std::memcpy(attention.args().cache.k, &infinity, sizeof infinity);
            const auto found = attention.compute(0, n).first(4 * 64);
            EXPECT_TRUE(std::ranges::all_of(found, [](float each) { return std::isnan(each); })) << n << " tokens";
        }
}

TEST_P(GpuAttention, RefusesWhatItCannotRead) {
    const auto refused = [](const Heads& heads, const CacheTypes& types, std::size_t offset) {
        try {
            Attention attention(heads, types, 8, kPlain);
            AttentionArgs args = attention.args();
            args.cache.k += offset;
            KernelBackend backend({.n_batch = 1, .n_ctx = 4}, kPlain);
            StepParams step{.n_tokens = 1};
            backend.record(std::array<Operation, 1>{args}, step);
        } catch (const Error& error) {
            return error.code() == ErrorCode::kUnsupportedModel;
        }
        return false;
    };
    EXPECT_FALSE(refused({64, 1, 1}, kHalves, 0));
    EXPECT_TRUE(refused({288, 1, 1}, kHalves, 0));
    EXPECT_TRUE(refused({30, 1, 1}, kHalves, 0));
    EXPECT_TRUE(refused({64, 1, 1}, {DType::kQ4_0, DType::kF16}, 0));
    EXPECT_TRUE(refused({64, 1, 1}, kHalves, 2));
    EXPECT_TRUE(refused({64, 1, 1}, kBlocks, 1));
}

}  // namespace
}  // namespace lfm::gpu::test
