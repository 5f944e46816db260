#include "tests/backends/operation_cases/batch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "backends/needs/conv_ring.h"
#include "backends/needs/kv_pages.h"
#include "tests/backends/cpu/random_blocks.h"

namespace lfm::operation_cases {
namespace {

constexpr std::uint32_t kHeads = 4, kHeadsKv = 2, kHeadDim = 32, kEmbd = 300, kTaps = 3, kPast = kTaps - 1;
constexpr std::uint32_t kQ = kHeads * kHeadDim, kKv = kHeadsKv * kHeadDim;
constexpr std::uint32_t kSequences = kBatchLimits.n_sequences, kContext = kBatchLimits.n_ctx,
                        kBatch = kBatchLimits.n_batch;
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
class BatchBed {
public:
    BatchBed(const BatchTarget& target, std::uint32_t n_pages, std::uint32_t n_conv_rows) : target_(target) {
        const std::size_t cache_bytes = row_bytes(target.type, kKv) * n_pages * kKvPageTokens;
        const KvView cache{room(cache_bytes), room(cache_bytes), target.type, target.type, kHeadsKv, kHeadDim};
        const std::vector<float> taps = noise(kEmbd * kTaps, 99);
        const Operation operations[] = {
            KvAppendArgs{.k = {k_.there, kKv}, .v = {v_.there, kKv}, .cache = cache},
            AttentionArgs{.q = {q_.there, kQ}, .cache = cache, .out = {attended_.there, kQ}},
            ShortConvArgs{.bcx = {bcx_.there, 3 * kEmbd},
                          .taps = reinterpret_cast<const float*>(target.place.put(std::as_bytes(std::span(taps)))),
                          .l_cache = kTaps,
                          .ring = reinterpret_cast<float*>(room(n_conv_rows * kEmbd * sizeof(float))),
                          .n_slots = kRing.n_slots,
                          .out = {convolved_.there, kEmbd}}};
        program_ = target.backend.record(operations, step_);
    }

    struct Part {
        StepSequence sequence;  // first_row is set here
        const Text* text = nullptr;
        Results* results = nullptr;
    };
    void run(std::vector<Part> parts, std::vector<PageCopy> copies = {}) {
        sequences_.clear();
        step_.n_tokens = 0;
        for (Part& part : parts) {
            part.sequence.first_row = step_.n_tokens;
            step_.n_tokens += part.sequence.n_rows;
            sequences_.push_back(part.sequence);
            for (std::uint32_t t = 0; t < part.sequence.n_rows; ++t) {
                const std::size_t at = part.sequence.position + t, row = part.sequence.first_row + t;
                copy(part.text->q, at, q_.values, row, kQ);
                copy(part.text->bcx, at, bcx_.values, row, 3 * kEmbd);
                // Keys and values of rows done again are wrong: those in the cache count.
                if (t < part.sequence.n_replayed) continue;
                copy(part.text->k, at, k_.values, row, kKv);
                copy(part.text->v, at, v_.values, row, kKv);
            }
        }
        copies_ = std::move(copies);
        step_.sequences = sequences_;
        step_.page_copies = copies_;
        for (const Rows* rows : {&q_, &k_, &v_, &bcx_})
            target_.place.set(reinterpret_cast<std::byte*>(rows->there), std::as_bytes(std::span(rows->values)));
        target_.place.begin_step();
        target_.backend.submit(program_);
        target_.backend.wait();
        for (Rows* rows : {&attended_, &convolved_})
            target_.place.get(std::as_writable_bytes(std::span(rows->values)),
                              reinterpret_cast<const std::byte*>(rows->there));
        for (const Part& part : parts)
            for (std::uint32_t t = 0; t < part.sequence.n_rows; ++t) {
                const std::size_t at = part.sequence.position + t, row = part.sequence.first_row + t;
                copy(attended_.values, row, part.results->attended, at, kQ);
                copy(convolved_.values, row, part.results->convolved, at, kEmbd);
            }
    }

private:
    /// Operands of the step, here and where the backend has them.
    struct Rows {
        Rows(Place& place, std::size_t n_cols)
            : values(kBatch * n_cols), there(reinterpret_cast<float*>(place.put(std::as_bytes(std::span(values))))) {}
        std::vector<float> values;
        float* there;
    };
    static void copy(const std::vector<float>& from, std::size_t i, std::vector<float>& to, std::size_t j,
                     std::size_t n) {
        std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(i * n), n,
                    to.begin() + static_cast<std::ptrdiff_t>(j * n));
    }
    /// What nobody has written reads as NaN.
    std::byte* room(std::size_t n_bytes) { return target_.place.put(std::vector<std::byte>(n_bytes, std::byte{0xff})); }

    BatchTarget target_;
    Rows q_{target_.place, kQ}, k_{target_.place, kKv}, v_{target_.place, kKv}, bcx_{target_.place, 3 * kEmbd},
        attended_{target_.place, kQ}, convolved_{target_.place, kEmbd};
    // Devices read the steps of all their programs.
    std::vector<StepSequence> sequences_;
    std::vector<PageCopy> copies_;
    StepParams step_;
    Program program_;
};

/// A text alone, a token at a time.
Results alone(const BatchTarget& target, const Text& text) {
    Results results;
    BatchBed bed(target, n_kv_pages(kContext), kRing.n_slots);
    std::uint32_t window = 0;
    for (std::uint32_t t = 0; t < kContext; ++t) {
        bed.run({{{.n_rows = 1, .position = t, .window = window}, &text, &results}});
        window = kRing.after(window, 1, 1);
    }
    return results;
}

void expect_alike(const std::vector<float>& found, const std::vector<float>& expected, std::size_t first, std::size_t n,
                  double bar) {
    test::Nmse error;
    for (std::size_t i = first; i < first + n; ++i) {
        if (bar == 0) {
            ASSERT_EQ(found[i], expected[i]) << i;
        }
        error.add(found[i], expected[i]);
    }
    if (bar > 0) {
        EXPECT_LT(error.value(), bar);
    }
}

/// Tokens [first, first + n) of both.
void expect_alike(const BatchTarget& target, const Results& found, const Results& expected, std::uint32_t first,
                  std::uint32_t n) {
    expect_alike(found.attended, expected.attended, first * kQ, n * kQ, target.attention_bar);
    expect_alike(found.convolved, expected.convolved, first * kEmbd, n * kEmbd, target.conv_bar);
}

}  // namespace

void check_that_sequences_are_as_alone(const BatchTarget& target) {
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
    BatchBed bed(target, static_cast<std::uint32_t>(pages.size()), kSequences * kRing.n_slots);
    for (;;) {
        std::vector<BatchBed::Part> parts;
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
    for (const One& one : all) expect_alike(target, one.results, alone(target, one.text), 0, kContext);
}

void check_that_others_go_on_from_any_token(const BatchTarget& target) {
    constexpr std::uint32_t kPages = n_kv_pages(kContext);
    const Text text(7);
    const Results expected = alone(target, text);
    for (const std::uint32_t cut : {1u, 2u, 5u, 31u, 32u, 33u, 63u, 64u, 100u}) {
        for (const bool is_saved : {true, false}) {
            const std::uint32_t n_again = is_saved ? 0 : std::min(cut, kPast);
            BatchBed bed(target, 2 * kPages, 2 * kRing.n_slots + kPast);
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
            SCOPED_TRACE("cut at " + std::to_string(cut) + (is_saved ? ", saved" : ", done again"));
            expect_alike(target, again, expected, cut, 10);
        }
    }
}

}  // namespace lfm::operation_cases
