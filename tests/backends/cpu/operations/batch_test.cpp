// Steps of many sequences: each row gets the bits that it gets when its sequence is alone, in pages side by side.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "backends/cpu/cpu_backend.h"
#include "backends/needs/conv_ring.h"
#include "backends/needs/kv_pages.h"

namespace lfm::test {
namespace {

constexpr std::uint32_t kHeads = 4, kHeadsKv = 2, kHeadDim = 32, kEmbd = 300, kTaps = 3, kPast = kTaps - 1;
constexpr std::uint32_t kQ = kHeads * kHeadDim, kKv = kHeadsKv * kHeadDim;
constexpr std::uint32_t kSequences = 6, kContext = 200, kBatch = 64;
constexpr ConvRing kRing = ConvRing::of(kTaps, 3);

using Random = std::mt19937;

std::vector<float> noise(std::size_t n, std::uint32_t seed) {
    Random random(seed);
    std::vector<float> values(n);
    for (float& value : values) value = static_cast<float>(random() >> 8) * 0x1p-23f - 1;
    return values;
}

/// What a sequence's tokens bring, by position.
struct Text {
    explicit Text(std::uint32_t seed)
        : q(noise(kContext * kQ, seed)),
          k(noise(kContext * kKv, seed + 1)),
          v(noise(kContext * kKv, seed + 2)),
          bcx(noise(kContext * 3 * kEmbd, seed + 3)) {}
    std::vector<float> q, k, v, bcx;
};

/// What comes of them, by position.
struct Results {
    std::vector<float> attended = std::vector<float>(kContext * kQ), convolved = std::vector<float>(kContext * kEmbd);
};

/// A cache, rings, and the three operations that know sequences.
class Bed {
public:
    Bed(const cpu::Kernels& kernels, DType type, std::uint32_t n_pages, std::uint32_t n_conv_rows)
        : cache_bytes_(row_bytes(type, kKv) * n_pages * kKvPageTokens),
          k_cache_(cache_bytes_, std::byte{0xff}),
          v_cache_(cache_bytes_, std::byte{0xff}),
          conv_(n_conv_rows * kEmbd, std::numeric_limits<float>::quiet_NaN()),
          backend_(cpu::make_cpu_backend({.kernels = &kernels,
                                          .n_threads = 2,
                                          .limits = {.n_batch = kBatch, .n_ctx = kContext, .n_sequences = kSequences}},
                                         ledger_)) {
        const KvView cache{k_cache_.data(), v_cache_.data(), type, type, kHeadsKv, kHeadDim};
        const Operation operations[] = {
            KvAppendArgs{.k = {k_.data(), kKv}, .v = {v_.data(), kKv}, .cache = cache},
            AttentionArgs{.q = {q_.data(), kQ}, .cache = cache, .out = {attended_.data(), kQ}},
            ShortConvArgs{.bcx = {bcx_.data(), 3 * kEmbd},
                          .taps = taps_.data(),
                          .l_cache = kTaps,
                          .ring = conv_.data(),
                          .n_slots = kRing.n_slots,
                          .out = {convolved_.data(), kEmbd}}};
        program_ = backend_->record(operations, step_);
    }

    struct Part {
        StepSequence sequence;  // first_row is set here
        const Text* text = nullptr;
        Results* results = nullptr;
    };
    void run(std::vector<Part> parts, std::vector<PageCopy> copies = {}) {
        std::vector<StepSequence> sequences;
        step_.n_tokens = 0;
        for (Part& part : parts) {
            part.sequence.first_row = step_.n_tokens;
            move(part, true);
            step_.n_tokens += part.sequence.n_rows;
            sequences.push_back(part.sequence);
        }
        step_.sequences = sequences;
        step_.page_copies = copies;
        backend_->submit(program_);
        backend_->wait();
        for (const Part& part : parts) move(part, false);
    }

private:
    /// A part's rows into the step, or its results out of it.
    void move(const Part& part, bool in) {
        for (std::uint32_t t = 0; t < part.sequence.n_rows; ++t) {
            const std::size_t at = part.sequence.position + t, row = part.sequence.first_row + t;
            const auto copy = [&](const std::vector<float>& from, std::size_t i, std::vector<float>& to, std::size_t j,
                                  std::size_t n) {
                std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(i * n), n,
                            to.begin() + static_cast<std::ptrdiff_t>(j * n));
            };
            if (in) {
                copy(part.text->q, at, q_, row, kQ);
                // Keys and values of rows done again are wrong: those in the cache count.
                if (t >= part.sequence.n_replayed) {
                    copy(part.text->k, at, k_, row, kKv);
                    copy(part.text->v, at, v_, row, kKv);
                }
                copy(part.text->bcx, at, bcx_, row, 3 * kEmbd);
            } else {
                copy(attended_, row, part.results->attended, at, kQ);
                copy(convolved_, row, part.results->convolved, at, kEmbd);
            }
        }
    }

    std::size_t cache_bytes_;
    std::vector<std::byte> k_cache_, v_cache_;
    std::vector<float> conv_;
    std::vector<float> taps_ = noise(kEmbd * kTaps, 99);
    std::vector<float> q_ = std::vector<float>(kBatch * kQ), k_ = std::vector<float>(kBatch * kKv), v_ = k_,
                       bcx_ = std::vector<float>(kBatch * 3 * kEmbd), attended_ = q_,
                       convolved_ = std::vector<float>(kBatch * kEmbd);
    StepParams step_;
    Ledger ledger_;
    std::unique_ptr<Backend> backend_;
    Program program_;
};

class BatchOperations : public testing::TestWithParam<std::tuple<const cpu::Kernels*, DType>> {
protected:
    const cpu::Kernels& kernels() const { return *std::get<0>(GetParam()); }
    DType type() const { return std::get<1>(GetParam()); }

    /// A text alone, a token at a time.
    Results alone(const Text& text) const {
        Results results;
        Bed bed(kernels(), type(), n_kv_pages(kContext), kRing.n_slots);
        std::uint32_t window = 0;
        for (std::uint32_t t = 0; t < kContext; ++t) {
            bed.run({{{.n_rows = 1, .position = t, .window = window}, &text, &results}});
            window = kRing.after(window, 1, 1);
        }
        return results;
    }
};
INSTANTIATE_TEST_SUITE_P(Kernels, BatchOperations,
                         testing::Combine(testing::ValuesIn(cpu::available_kernels().begin(),
                                                            cpu::available_kernels().end()),
                                          testing::Values(DType::kF32, DType::kF16, DType::kQ8_0)),
                         [](const auto& test) {
                             return std::string(std::get<0>(test.param)->name) + "_" +
                                    std::string(dtype_name(std::get<1>(test.param)));
                         });

TEST_P(BatchOperations, EachSequenceIsAsAlone) {
    constexpr std::uint32_t kPages = n_kv_pages(kContext);
    Random random(5);
    std::vector<std::uint32_t> pages(kSequences * kPages);
    std::iota(pages.begin(), pages.end(), 0);
    std::ranges::shuffle(pages, random);
    struct One {
        Text text;
        Results results;
        std::uint32_t position = 0, window = 0;
    };
    std::vector<One> all;
    for (std::uint32_t i = 0; i < kSequences; ++i) all.push_back({Text(100 * i), {}});
    Bed bed(kernels(), type(), static_cast<std::uint32_t>(pages.size()), kSequences * kRing.n_slots);
    for (;;) {
        std::vector<Bed::Part> parts;
        std::uint32_t room = kBatch;
        std::vector<std::uint32_t> order(kSequences);
        std::iota(order.begin(), order.end(), 0);
        std::ranges::shuffle(order, random);
        for (const std::uint32_t i : order) {
            One& one = all[i];
            const std::uint32_t n =
                std::min({room, kContext - one.position, 1 + std::uint32_t(random() % 2 * (random() % 40))});
            if (n == 0 || (random() % 4 == 0 && one.position > 0)) continue;
            parts.push_back({{.n_rows = n,
                              .position = one.position,
                              .pages = &pages[i * kPages],
                              .ring = i * kRing.n_slots,
                              .window = one.window},
                             &one.text,
                             &one.results});
            one.position += n;
            one.window = kRing.after(one.window, n, n);
            room -= n;
        }
        if (!parts.empty()) bed.run(parts);
        if (std::ranges::all_of(all, [](const One& one) { return one.position == kContext; })) break;
    }
    for (const One& one : all) {
        const Results expected = alone(one.text);
        EXPECT_EQ(one.results.attended, expected.attended);
        EXPECT_EQ(one.results.convolved, expected.convolved);
    }
}

/// Another sequence goes on from any token of the first: in a copied page, from a saved window or by doing rows again.
TEST_P(BatchOperations, OthersGoOnFromAnyToken) {
    constexpr std::uint32_t kPages = n_kv_pages(kContext);
    const Text text(7);
    const Results expected = alone(text);
    for (const std::uint32_t cut : {1u, 2u, 5u, 31u, 32u, 33u, 63u, 64u, 100u}) {
        for (const bool is_saved : {true, false}) {
            const std::uint32_t n_again = is_saved ? 0 : std::min(cut, kPast);
            Bed bed(kernels(), type(), 2 * kPages, 2 * kRing.n_slots + kPast);
            std::vector<std::uint32_t> first(kPages), second(kPages);
            for (std::uint32_t i = 0; i < kPages; ++i) {
                first[i] = 2 * i;
                second[i] = i < cut / kKvPageTokens ? 2 * i : 2 * i + 1;
            }
            Results results, again;
            StepSequence old{.position = 0, .pages = first.data(), .save_to = 2 * kRing.n_slots};
            for (std::uint32_t n; old.position < cut; old.position += n) {
                old.n_rows = n = std::min(cut - old.position, 30u);
                bed.run({{old, &text, &results}});
                old.window = kRing.after(old.window, n, n);
            }
            old.save_to = StepSequence::kNowhere;
            old.n_rows = 3;
            StepSequence fork{.n_rows = 9 + n_again,
                              .position = cut - n_again,
                              .n_replayed = n_again,
                              .pages = second.data(),
                              .ring = kRing.n_slots,
                              .window = 1,
                              .window_from = is_saved ? WindowFrom::kSaved : WindowFrom::kZeros,
                              .saved = 2 * kRing.n_slots};
            std::vector<PageCopy> copies;
            if (cut % kKvPageTokens > 0)
                copies.push_back({first[cut / kKvPageTokens], second[cut / kKvPageTokens], cut % kKvPageTokens});
            bed.run({{old, &text, &results}, {fork, &text, &again}}, copies);
            // The same once more, as after an interruption; then one token, for which the rings count.
            bed.run({{old, &text, &results}, {fork, &text, &again}}, copies);
            const std::uint32_t window = kRing.after(fork.window, fork.n_rows, fork.n_rows);
            fork = {.n_rows = 1, .position = cut + 9, .pages = second.data(), .ring = kRing.n_slots, .window = window};
            bed.run({{fork, &text, &again}});
            for (std::uint32_t t = cut; t < cut + 10; ++t) {
                for (std::uint32_t i = 0; i < kQ; ++i)
                    ASSERT_EQ(again.attended[t * kQ + i], expected.attended[t * kQ + i]) << cut << ' ' << t;
                for (std::uint32_t i = 0; i < kEmbd; ++i)
                    ASSERT_EQ(again.convolved[t * kEmbd + i], expected.convolved[t * kEmbd + i]) << cut << ' ' << t;
            }
        }
    }
}

TEST(BatchSteps, WhatIsNobodysIsRefused) {
    const BackendLimits limits{.n_batch = 8, .n_ctx = 64, .n_sequences = 2};
    const auto refused = [&](std::vector<StepSequence> sequences) {
        StepParams step;
        step.n_tokens = 4;
        step.sequences = sequences;
        try {
            check_step(step, limits, "step");
        } catch (const Error& error) {
            return error.code() == ErrorCode::kUsage;
        }
        return false;
    };
    EXPECT_FALSE(refused({{.n_rows = 4}}));
    EXPECT_FALSE(refused({{.n_rows = 1}, {.first_row = 1, .n_rows = 3}}));
    EXPECT_TRUE(refused({{.n_rows = 3}})) << "a row is nobody's";
    EXPECT_TRUE(refused({{.n_rows = 3}, {.first_row = 2, .n_rows = 2}})) << "a row is two's";
    EXPECT_TRUE(refused({{.n_rows = 4}, {.first_row = 4, .n_rows = 0}})) << "without rows";
    EXPECT_TRUE(refused({{.n_rows = 2}, {.first_row = 2, .n_rows = 1}, {.first_row = 3, .n_rows = 1}})) << "three";
    EXPECT_TRUE(refused({{.n_rows = 4, .position = 61}})) << "beyond the context";
    EXPECT_TRUE(refused({{.n_rows = 4, .n_replayed = 5}})) << "more done again than there are";
}

}  // namespace
}  // namespace lfm::test
