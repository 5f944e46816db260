// Operations as a backend runs them, recorded and replayed, against plain formulas in f64.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "backends/cpu/cpu_backend.h"
#include "backends/needs/conv_ring.h"
#include "tests/backends/step_sequence.h"

namespace lfm::test {
namespace {

std::vector<float> noise(std::size_t n, std::uint32_t seed, float spread = 1) {
    std::mt19937 random(seed);
    std::vector<float> values(n);
    for (float& value : values) value = spread * (static_cast<float>(random() >> 8) * 0x1p-23f - 1);
    return values;
}

/// One backend and one set of params; each operation is recorded and run at once.
class Bed {
public:
    explicit Bed(const cpu::Kernels& kernels, std::uint32_t n_batch = 64)
        : backend_(cpu::make_cpu_backend(
              {.kernels = &kernels, .n_threads = 2, .limits = {.n_batch = n_batch, .n_ctx = 256}}, ledger_)) {}

    void run(const Operation& operation) {
        backend_->submit(backend_->record({&operation, 1}, step));
        backend_->wait();
    }

    void follow(std::uint32_t position, std::uint32_t window = 0) { test::follow(step, sequence_, position, window); }

    StepParams step;

private:
    StepSequence sequence_;
    Ledger ledger_;
    std::unique_ptr<Backend> backend_;
};

class Operations : public testing::TestWithParam<const cpu::Kernels*> {};
INSTANTIATE_TEST_SUITE_P(Kernels, Operations,
                         testing::ValuesIn(cpu::available_kernels().begin(), cpu::available_kernels().end()),
                         [](const auto& test) { return std::string(test.param->name); });

TEST_P(Operations, ShortConvInAnyCutEqualsTheFormula) {
    constexpr std::uint32_t kTokens = 23, kWidth = 300;
    for (const std::uint32_t taps_count : {1u, 2u, 3u, 5u}) {
        auto bcx = noise(kTokens * 3 * kWidth, 1);
        const auto taps = noise(kWidth * taps_count, 2);
        const auto s = [&](int t, std::uint32_t c) {
            return t < 0 ? 0.0 : double{bcx[t * 3 * kWidth + c]} * bcx[t * 3 * kWidth + 2 * kWidth + c];
        };
        for (const std::uint32_t cut : {1u, 2u, 5u, 23u}) {
            Bed bed(*GetParam());
            const ConvRing shape = ConvRing::of(taps_count, 0);
            std::vector<float> ring((shape.n_slots + 1) * kWidth, 99.0f);  // stale: position 0 must not read it
            std::uint32_t window = 0;
            std::vector<float> out(kTokens * kWidth);
            for (std::uint32_t first = 0; first < kTokens; first += cut) {
                bed.step.n_tokens = std::min(cut, kTokens - first);
                bed.follow(first, window);
                window = shape.after(window, bed.step.n_tokens, bed.step.n_tokens);
                bed.run(ShortConvArgs{.bcx = {bcx.data() + first * 3 * kWidth, 3 * kWidth},
                                      .taps = taps.data(),
                                      .l_cache = taps_count,
                                      .ring = ring.data(),
                                      .n_slots = shape.n_slots,
                                      .out = {out.data() + first * kWidth, kWidth}});
            }
            for (std::uint32_t t = 0; t < kTokens; ++t)
                for (std::uint32_t c = 0; c < kWidth; ++c) {
                    double sum = 0;
                    for (std::uint32_t j = 0; j < taps_count; ++j)
                        sum +=
                            taps[c * taps_count + j] * s(static_cast<int>(t + j) - static_cast<int>(taps_count - 1), c);
                    ASSERT_NEAR(out[t * kWidth + c], sum * bcx[t * 3 * kWidth + kWidth + c], 1e-5)
                        << t << " " << c << " cut " << cut;
                }
        }
    }
}

TEST_P(Operations, RmsNormQkNormAndRope) {
    constexpr std::uint32_t kTokens = 5, kHeadDim = 64, kHeads = 4;
    Bed bed(*GetParam());
    bed.step.n_tokens = kTokens;
    auto x = noise(kTokens * 333, 3);
    const auto weight = noise(333, 4);
    std::vector<float> out(x.size());
    bed.run(RmsNormArgs{.x = {x.data(), 333}, .weight = weight.data(), .eps = 1e-5f, .out = {out.data(), 333}});
    for (std::uint32_t t = 0; t < kTokens; ++t) {
        double squares = 0;
        for (std::uint32_t i = 0; i < 333; ++i) squares += double{x[t * 333 + i]} * x[t * 333 + i];
        for (std::uint32_t i = 0; i < 333; ++i)
            ASSERT_NEAR(out[t * 333 + i], x[t * 333 + i] * weight[i] / std::sqrt(squares / 333 + 1e-5), 1e-6);
    }

    auto q = noise(kTokens * kHeads * kHeadDim, 5);
    auto k = noise(kTokens * kHeadDim, 6);
    const auto before = q;
    const auto q_norm = noise(kHeadDim, 7), k_norm = noise(kHeadDim, 8);
    std::vector<float> rope(kTokens * kHeadDim);
    for (std::uint32_t t = 0; t < kTokens; ++t)
        for (std::uint32_t i = 0; i < kHeadDim / 2; ++i) {
            rope[t * kHeadDim + i] = std::cos(0.3f * t + i);
            rope[t * kHeadDim + kHeadDim / 2 + i] = std::sin(0.3f * t + i);
        }
    bed.step.rope = rope.data();
    bed.run(QkNormRopeArgs{.q = {q.data(), kHeads * kHeadDim},
                           .k = {k.data(), kHeadDim},
                           .q_norm = q_norm.data(),
                           .k_norm = k_norm.data(),
                           .head_dim = kHeadDim,
                           .eps = 1e-5f});
    for (std::uint32_t head = 0; head < kTokens * kHeads; ++head) {
        const float* old = before.data() + head * kHeadDim;
        const double angle_base = 0.3 * (head / kHeads);
        double squares = 0;
        for (std::uint32_t i = 0; i < kHeadDim; ++i) squares += double{old[i]} * old[i];
        const double scale = 1 / std::sqrt(squares / kHeadDim + 1e-5);
        for (std::uint32_t i = 0; i < kHeadDim / 2; ++i) {
            const double a = old[i] * scale * q_norm[i], b = old[i + 32] * scale * q_norm[i + 32];
            const double angle = angle_base + i;
            ASSERT_NEAR(q[head * kHeadDim + i], a * std::cos(angle) - b * std::sin(angle), 1e-5);
            ASSERT_NEAR(q[head * kHeadDim + i + 32], a * std::sin(angle) + b * std::cos(angle), 1e-5);
        }
    }
}

struct RouterBed {
    static constexpr std::uint32_t kExperts = 8, kWidth = 32, kUsed = 3;
    std::vector<float> router = std::vector<float>(kExperts * kWidth);
    std::vector<float> bias = std::vector<float>(kExperts);
    std::vector<float> x = std::vector<float>(kWidth);
    std::vector<std::int32_t> ids = std::vector<std::int32_t>(kUsed, -1);
    std::vector<float> weights = std::vector<float>(kUsed);

    void run(Bed& bed) {
        bed.step.n_tokens = 1;
        bed.run(RouteArgs{
            .x = {x.data(), kWidth},
            .router = {reinterpret_cast<const std::byte*>(router.data()), DType::kF32, kExperts, kWidth, kWidth * 4},
            .bias = bias.data(),
            .n_expert_used = kUsed,
            .out = {ids.data(), weights.data()}});
    }
};

TEST_P(Operations, TheBiasSelectsButDoesNotWeigh) {
    Bed bed(*GetParam());
    RouterBed route;
    route.x[0] = 1;
    for (std::uint32_t e = 0; e < RouterBed::kExperts; ++e)
        route.router[e * RouterBed::kWidth] = 0.5f * static_cast<float>(e);
    route.bias[1] = 10;
    route.run(bed);
    EXPECT_EQ(route.ids, (std::vector<std::int32_t>{1, 7, 6}));
    const auto p = [](double logit) { return 1 / (1 + std::exp(-logit)); };
    const double sum = p(0.5) + p(3.5) + p(3.0) + 1e-6;
    EXPECT_NEAR(route.weights[0], p(0.5) / sum, 1e-6);
    EXPECT_NEAR(route.weights[1], p(3.5) / sum, 1e-6);
}

TEST_P(Operations, TiesAndNaNStillGiveDistinctExperts) {
    Bed bed(*GetParam());
    RouterBed route;
    route.run(bed);  // all scores equal
    EXPECT_EQ(route.ids, (std::vector<std::int32_t>{0, 1, 2}));
    route.x.assign(RouterBed::kWidth, NAN);
    route.run(bed);
    EXPECT_EQ(route.ids, (std::vector<std::int32_t>{0, 1, 2}));
}

TEST_P(Operations, ExpertsHeldElsewhereAreSkipped) {
    constexpr std::uint32_t kTokens = 9, kExperts = 4, kUsed = 2, kWidth = 64, kFf = 32;
    std::vector<std::vector<float>> gate, up, down;
    ExpertTable table(1, kExperts);
    const auto bytes = [](const std::vector<float>& v) { return reinterpret_cast<const std::byte*>(v.data()); };
    for (std::uint32_t e = 0; e < kExperts; ++e) {
        gate.push_back(noise(kFf * kWidth, 20 + e, 0.2f));
        up.push_back(noise(kFf * kWidth, 30 + e, 0.2f));
        down.push_back(noise(kWidth * kFf, 40 + e, 0.2f));
        table.set({LayerId{0}, e}, {e == 2 ? DeviceId{1} : kHost, bytes(gate[e]), bytes(up[e]), bytes(down[e])});
    }
    auto x = noise(kTokens * kWidth, 50);
    std::vector<std::int32_t> ids;
    for (std::uint32_t t = 0; t < kTokens; ++t)
        ids.insert(ids.end(), {static_cast<std::int32_t>(t % 4), static_cast<std::int32_t>((t + 1 + t / 4) % 4)});
    auto weights = noise(kTokens * kUsed, 51);
    std::vector<float> out(x.size());
    Bed bed(*GetParam());
    bed.step.n_tokens = kTokens;
    bed.run(ExpertFfnArgs{.x = {x.data(), kWidth},
                          .layer = LayerId{0},
                          .experts = &table,
                          .n_ff = kFf,
                          .n_expert_used = kUsed,
                          .choice = {ids.data(), weights.data()},
                          .out = {out.data(), kWidth}});
    for (std::uint32_t t = 0; t < kTokens; ++t) {
        std::vector<double> expected(kWidth);
        for (std::uint32_t j = 0; j < kUsed; ++j) {
            const auto e = static_cast<std::uint32_t>(ids[t * kUsed + j]);
            if (e == 2) continue;
            for (std::uint32_t f = 0; f < kFf; ++f) {
                double g = 0, u = 0;
                for (std::uint32_t i = 0; i < kWidth; ++i) {
                    g += double{gate[e][f * kWidth + i]} * x[t * kWidth + i];
                    u += double{up[e][f * kWidth + i]} * x[t * kWidth + i];
                }
                const double hidden = g / (1 + std::exp(-g)) * u;
                for (std::uint32_t i = 0; i < kWidth; ++i)
                    expected[i] += weights[t * kUsed + j] * hidden * down[e][i * kFf + f];
            }
        }
        for (std::uint32_t i = 0; i < kWidth; ++i) ASSERT_NEAR(out[t * kWidth + i], expected[i], 1e-4) << t;
    }
}

/// The host may read ids that a failing device left in shared memory.
TEST_P(Operations, ExpertsThatDoNotExistAreSkipped) {
    constexpr std::uint32_t kExperts = 4, kWidth = 64, kFf = 32;
    const auto weight = noise(kFf * kWidth, 20);
    const auto* bytes = reinterpret_cast<const std::byte*>(weight.data());
    ExpertTable table(1, kExperts);
    for (std::uint32_t e = 0; e < kExperts; ++e) table.set({LayerId{0}, e}, {kHost, bytes, bytes, bytes});
    auto x = noise(kWidth, 50);
    std::vector<float> weights(2, 1.0f), out(kWidth), expected(kWidth);
    Bed bed(*GetParam());
    bed.step.n_tokens = 1;
    const auto run = [&](std::vector<std::int32_t> ids, std::uint32_t n_used, std::vector<float>& to) {
        bed.run(ExpertFfnArgs{.x = {x.data(), kWidth},
                              .layer = LayerId{0},
                              .experts = &table,
                              .n_ff = kFf,
                              .n_expert_used = n_used,
                              .choice = {ids.data(), weights.data()},
                              .out = {to.data(), kWidth}});
    };
    run({1}, 1, expected);
    for (const std::int32_t wrong : {-1, 4, 1 << 30, std::numeric_limits<std::int32_t>::min()}) {
        run({wrong, 1}, 2, out);
        EXPECT_EQ(out, expected) << wrong;
    }
}

TEST_P(Operations, AttentionOverACacheOfEachType) {
    constexpr std::uint32_t kPast = 70, kTokens = 7, kHeads = 4, kHeadDim = 64, kAll = kPast + kTokens;
    for (const DType type : {DType::kF32, DType::kF16, DType::kQ8_0}) {
        auto q = noise(kTokens * kHeads * kHeadDim, 60);
        auto k = noise(kAll * 2 * kHeadDim, 61), v = noise(kAll * 2 * kHeadDim, 62);
        std::vector<std::byte> k_cache(kAll * row_bytes(type, 2 * kHeadDim)), v_cache(k_cache.size());
        const KvView cache{k_cache.data(), v_cache.data(), type, type, 2, kHeadDim};
        Bed bed(*GetParam(), 128);
        bed.step.n_tokens = kPast;
        bed.run(KvAppendArgs{.k = {k.data(), 128}, .v = {v.data(), 128}, .cache = cache});
        bed.step.n_tokens = kTokens;
        bed.follow(kPast);
        bed.run(KvAppendArgs{.k = {k.data() + kPast * 128, 128}, .v = {v.data() + kPast * 128, 128}, .cache = cache});
        std::vector<float> out(q.size());
        bed.run(
            AttentionArgs{.q = {q.data(), kHeads * kHeadDim}, .cache = cache, .out = {out.data(), kHeads * kHeadDim}});
        double error = 0, norm = 0;
        for (std::uint32_t t = 0; t < kTokens; ++t)
            for (std::uint32_t head = 0; head < kHeads; ++head) {
                const std::uint32_t kv_head = head / 2;
                std::vector<double> p(kPast + t + 1);
                double sum = 0;
                for (std::uint32_t s = 0; s < p.size(); ++s) {
                    double score = 0;
                    for (std::uint32_t i = 0; i < kHeadDim; ++i)
                        score += double{q[(t * kHeads + head) * kHeadDim + i]} * k[s * 128 + kv_head * kHeadDim + i];
                    sum += p[s] = std::exp(score / 8);
                }
                for (std::uint32_t i = 0; i < kHeadDim; ++i) {
                    double expected = 0;
                    for (std::uint32_t s = 0; s < p.size(); ++s)
                        expected += p[s] / sum * v[s * 128 + kv_head * kHeadDim + i];
                    const double difference = out[(t * kHeads + head) * kHeadDim + i] - expected;
                    error += difference * difference;
                    norm += expected * expected;
                }
            }
        EXPECT_LE(error / norm, type == DType::kF32 ? 1e-10 : type == DType::kF16 ? 1e-6 : 1e-3) << dtype_name(type);
    }
}

}  // namespace
}  // namespace lfm::test
