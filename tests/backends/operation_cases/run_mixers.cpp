// Operations of the token mixers: qk_norm_rope, kv_append and attention, short_conv.
#include <cmath>

#include <gtest/gtest.h>

#include "backends/needs/conv_ring.h"
#include "tests/backends/operation_cases/run_case.h"

namespace lfm::operation_cases {
namespace {

/// [n, head_dim]: cosines, then sines, by the angles of the model family.
std::vector<float> rope_of(std::uint32_t n_tokens, std::uint32_t position, std::uint32_t head_dim) {
    std::vector<float> rope(std::size_t{n_tokens} * head_dim);
    const std::uint32_t half = head_dim / 2;
    for (std::uint32_t t = 0; t < n_tokens; ++t)
        for (std::uint32_t i = 0; i < half; ++i) {
            const double angle = (position + t) * std::pow(1e6, -2.0 * i / head_dim);
            rope[std::size_t{t} * head_dim + i] = static_cast<float>(std::cos(angle));
            rope[std::size_t{t} * head_dim + half + i] = static_cast<float>(std::sin(angle));
        }
    return rope;
}

/// The keys or the values of a cache: rows before the step hold values, those after it bytes that read as NaN.
struct Cache {
    DType type;
    std::vector<float> past, rows;  // [position, width], [n, width]
    std::byte* there;
    std::size_t n_after;  // bytes
};

Cache make_cache(Bed& bed, const AttentionCase& each, DType type, Noise& noise) {
    const std::size_t width = std::size_t{each.n_head_kv} * each.head_dim;
    Cache cache{.type = type,
                .past = noise.values(each.position * width),
                .rows = noise.values(each.n_tokens * width),
                .n_after = row_bytes(type, 3 * width)};
    std::vector<std::byte> bytes = reference::stored(type, cache.past);
    bytes.resize(bytes.size() + row_bytes(type, each.n_tokens * width) + cache.n_after, std::byte{0xff});
    cache.there = bed.put(bytes);
    return cache;
}

void expect_halves_of_steps(std::span<const float> x, std::span<const double> kept) {
    for (std::size_t begin = 0; begin < x.size(); begin += 32) {
        float largest = 0;
        for (const float value : x.subspan(begin, 32)) largest = std::fmax(largest, std::fabs(value));
        // Half a step, and what f16 loses of a scale that is multiplied by up to 127.
        const double bound = largest / 127.0 * (0.5 + 127 * 0x1p-11) + 127 * 0x1p-25;
        for (std::size_t i = begin; i < begin + 32; ++i) ASSERT_NEAR(kept[i], x[i], bound * 1.0001) << "value " << i;
    }
}

/// What the cache holds afterwards, as values of its position + n rows.
std::vector<double> check_cache(Bed& bed, const Cache& cache) {
    const std::vector<std::byte> before = reference::stored(cache.type, cache.past);
    const std::vector<std::byte> exact = reference::stored(cache.type, cache.rows);
    const std::size_t n_written = before.size() + exact.size();
    const std::vector<std::byte> found = bed.get(cache.there, n_written + cache.n_after);
    const auto part = [&found](std::size_t first, std::size_t n) { return std::span(found).subspan(first, n); };
    EXPECT_TRUE(std::ranges::equal(part(0, before.size()), before)) << "earlier rows changed";
    EXPECT_TRUE(std::ranges::all_of(part(n_written, cache.n_after), [](std::byte b) { return b == std::byte{0xff}; }))
        << "later rows changed";
    const std::vector<double> values =
        test::naive_weights(cache.type, found.data(), cache.past.size() + cache.rows.size());
    if (cache.type == DType::kQ8_0)
        expect_halves_of_steps(cache.rows, std::span(values).subspan(cache.past.size()));
    else
        EXPECT_TRUE(std::ranges::equal(part(before.size(), exact.size()), exact)) << "rows are kept otherwise";
    return values;
}

}  // namespace

void run_case(Bed& bed, const QkNormRopeCase& each, GroupTally&) {
    constexpr float kEps = 1e-5f;
    Noise noise(each.seed);
    const std::uint32_t q_cols = each.n_head * each.head_dim, k_cols = each.n_head_kv * each.head_dim;
    const std::vector<float> q = noise.values(std::size_t{each.n_tokens} * q_cols),
                             k = noise.values(std::size_t{each.n_tokens} * k_cols, 5),
                             q_norm = noise.values(each.head_dim), k_norm = noise.values(each.head_dim),
                             rope = rope_of(each.n_tokens, each.position, each.head_dim);
    bed.follow(each.position);
    bed.set_rope(rope);
    float* q_there = bed.put(q);
    float* k_there = bed.put(k);
    bed.run({QkNormRopeArgs{.q = {q_there, q_cols},
                            .k = {k_there, k_cols},
                            .q_norm = bed.put(q_norm),
                            .k_norm = bed.put(k_norm),
                            .head_dim = each.head_dim,
                            .eps = kEps}});
    expect_within(compare(bed.get(q_there, q.size()), reference::norm_rope(q, q_norm, rope, each.n_tokens, kEps)),
                  bed.bars().elementwise);
    expect_within(compare(bed.get(k_there, k.size()), reference::norm_rope(k, k_norm, rope, each.n_tokens, kEps)),
                  bed.bars().elementwise);
}

void run_case(Bed& bed, const AttentionCase& each, GroupTally&) {
    Noise noise(each.seed);
    const std::uint32_t n_head = each.n_head_kv * each.n_group, q_cols = n_head * each.head_dim,
                        kv_cols = each.n_head_kv * each.head_dim;
    const Cache k = make_cache(bed, each, each.k_type, noise), v = make_cache(bed, each, each.v_type, noise);
    const KvView cache{k.there, v.there, each.k_type, each.v_type, each.n_head_kv, each.head_dim};
    const std::vector<float> q = noise.values(std::size_t{each.n_tokens} * q_cols, 1.5f);
    const RowsView out{bed.room<float>(q.size()), q_cols};
    bed.follow(each.position);
    bed.run({KvAppendArgs{.k = {bed.put(k.rows), kv_cols}, .v = {bed.put(v.rows), kv_cols}, .cache = cache},
             AttentionArgs{.q = {bed.put(q), q_cols}, .cache = cache, .out = out}});
    // The same cache for both, so that only the arithmetic of attention is compared here.
    const std::vector<double> k_values = check_cache(bed, k), v_values = check_cache(bed, v);
    const reference::AttentionSizes sizes{each.n_tokens, each.position, n_head, each.n_head_kv, each.head_dim};
    expect_within(compare(bed.get(out.data, q.size()), reference::attention(q, k_values, v_values, sizes)),
                  bed.bars().attention);
}

/// Every step is done twice: it overwrites nothing that it reads.
void run_case(Bed& bed, const ShortConvCase& each, GroupTally&) {
    Noise noise(each.seed);
    const std::size_t n_embd = each.n_embd;
    const std::vector<float> bcx = noise.values(3 * n_embd * each.n_tokens), taps = noise.values(n_embd * each.l_cache);
    std::vector<float> past = noise.values(n_embd * (each.l_cache - 1));
    const ConvRing ring = ConvRing::of(each.l_cache, each.seed % 3);
    std::uint32_t window = ring.n_slots > 0 ? each.seed % ring.n_slots : 0;
    std::vector<float> rows(ring.n_slots * n_embd, NAN);  // stale, and damaged
    for (std::uint32_t i = 0; i < ring.n_past; ++i) {
        const auto row = std::span(past).subspan(i * n_embd, n_embd);
        if (each.position + i >= ring.n_past)
            std::ranges::copy(row, rows.begin() + static_cast<std::ptrdiff_t>(ring.slot(window, i) * n_embd));
        else
            std::ranges::fill(row, 0.0f);
    }
    float* bcx_there = bed.put(bcx);
    const float* taps_there = bed.put(taps);
    float* ring_there = bed.put(rows);
    float* out = bed.room<float>(n_embd * each.n_tokens);
    for (std::uint32_t first = 0; first < each.n_tokens; first += each.cut) {
        bed.step.n_tokens = std::min(each.cut, each.n_tokens - first);
        bed.follow(each.position + first, window);
        for (int time = 0; time < 2; ++time)
            bed.run({ShortConvArgs{.bcx = {bcx_there + first * 3 * n_embd, 3 * each.n_embd},
                                   .taps = taps_there,
                                   .l_cache = each.l_cache,
                                   .ring = ring_there,
                                   .n_slots = ring.n_slots,
                                   .out = {out + first * n_embd, each.n_embd}}});
        window = ring.after(window, bed.step.n_tokens, bed.step.n_tokens);
    }
    const reference::ShortConv expected = reference::short_conv(bcx, taps, past, each.n_embd, each.l_cache);
    expect_within(compare(bed.get(out, n_embd * each.n_tokens), expected.out), bed.bars().elementwise);
    rows = bed.get(ring_there, rows.size());
    std::vector<float> kept(expected.state.size());
    for (std::uint32_t i = 0; i < ring.n_past; ++i)
        if (each.position + each.n_tokens + i >= ring.n_past)
            std::copy_n(rows.begin() + static_cast<std::ptrdiff_t>(ring.slot(window, i) * n_embd), n_embd,
                        kept.begin() + static_cast<std::ptrdiff_t>(i * n_embd));
    expect_within(compare(kept, expected.state), bed.bars().elementwise);
}

}  // namespace lfm::operation_cases
