#include "tests/backends/operation_cases/run_nan.h"

#include <algorithm>
#include <limits>

#include <gtest/gtest.h>

namespace lfm::operation_cases {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

bool all_finite(std::span<const float> values) {
    return std::ranges::all_of(values, [](float value) { return std::isfinite(value); });
}
bool none_finite(std::span<const float> values) {
    return std::ranges::none_of(values, [](float value) { return std::isfinite(value); });
}

/// Noise [n_tokens, n] with `poison` in the last row, so that steps of one token have it too.
std::vector<float> poisoned_rows(std::uint32_t n_tokens, std::uint32_t n, float poison, Noise& noise) {
    std::vector<float> x = noise.values(std::size_t{n_tokens} * n);
    x[std::size_t{n_tokens - 1} * n + n / 2 + 5] = poison;
    return x;
}

/// out [n_tokens, n_out]: the last row has no finite value, the others have only such.
void expect_last_row_lost(std::span<const float> out, std::size_t n_out) {
    EXPECT_TRUE(all_finite(out.first(out.size() - n_out)));
    EXPECT_TRUE(none_finite(out.last(n_out)));
}

void check_matmul(Bed& bed, DType type, std::uint32_t n_tokens, float poison) {
    constexpr std::uint32_t kIn = 512, kOut = 70;
    Noise noise(n_tokens);
    bed.start_case(n_tokens);
    const Matrix matrix = bed.weights().cut(type, std::size_t{kOut} * kIn, noise);
    MatmulArgs args{.x = {bed.put(poisoned_rows(n_tokens, kIn, poison, noise)), kIn}, .n_outputs = 1};
    args.outputs[0] = {bed.put(matrix, type, kOut, kIn), {bed.room<float>(std::size_t{n_tokens} * kOut), kOut}};
    bed.run({args});
    expect_last_row_lost(bed.get(args.outputs[0].out.data, std::size_t{n_tokens} * kOut), kOut);
}

void check_expert_ffn(Bed& bed, DType type, std::uint32_t n_tokens, float poison) {
    constexpr std::uint32_t kEmbd = 256, kFf = 256, kExperts = 4, kUsed = 2;
    constexpr LayerId kLayer{0};
    Noise noise(n_tokens);
    bed.start_case(n_tokens);
    ExpertTable& table = bed.keep(ExpertTable(1, kExperts));
    for (std::uint32_t e = 0; e < kExperts; ++e) {
        const auto matrix = [&] {
            return bed.put(bed.weights().cut(type, std::size_t{kFf} * kEmbd, noise), type, kFf, kEmbd);
        };
        table.set({kLayer, e}, {bed.self(), matrix().data, matrix().data, matrix().data});
    }
    std::vector<std::int32_t> ids;
    for (std::uint32_t i = 0; i < n_tokens * kUsed; ++i) ids.push_back(static_cast<std::int32_t>(i % kExperts));
    ExpertFfnArgs args{.x = {bed.put(poisoned_rows(n_tokens, kEmbd, poison, noise)), kEmbd},
                       .layer = kLayer,
                       .experts = &table,
                       .n_ff = kFf,
                       .n_expert_used = kUsed,
                       .out = {bed.room<float>(std::size_t{n_tokens} * kEmbd), kEmbd}};
    args.gate_type = args.up_type = args.down_type = type;
    args.choice = {bed.put(ids), bed.put(std::vector<float>(ids.size(), 0.5f))};
    bed.run({args});
    expect_last_row_lost(bed.get(args.out.data, std::size_t{n_tokens} * kEmbd), kEmbd);
}

enum class Lost { kKey, kValue };

/// One number of the middle token's key or value is NaN, in the first of two key/value heads.
void check_attention(Bed& bed, DType type, Lost lost, std::uint32_t n_tokens) {
    constexpr std::uint32_t kHeadDim = 64, kHeadsKv = 2, kGroup = 2, kHeads = kHeadsKv * kGroup;
    constexpr std::uint32_t kKv = kHeadsKv * kHeadDim, kQ = kHeads * kHeadDim;
    Noise noise(n_tokens);
    bed.start_case(n_tokens);
    const std::uint32_t lost_token = n_tokens / 2;
    std::vector<float> k = noise.values(std::size_t{n_tokens} * kKv), v = noise.values(std::size_t{n_tokens} * kKv);
    (lost == Lost::kKey ? k : v)[std::size_t{lost_token} * kKv] = kNaN;
    const std::size_t cache_bytes = row_bytes(type, std::size_t{n_tokens} * kKv);
    const KvView cache{
        bed.room<std::byte>(cache_bytes), bed.room<std::byte>(cache_bytes), type, type, kHeadsKv, kHeadDim};
    const RowsView out{bed.room<float>(std::size_t{n_tokens} * kQ), kQ};
    bed.run({KvAppendArgs{.k = {bed.put(k), kKv}, .v = {bed.put(v), kKv}, .cache = cache},
             AttentionArgs{.q = {bed.put(noise.values(std::size_t{n_tokens} * kQ)), kQ}, .cache = cache, .out = out}});
    const std::vector<float> found = bed.get(out.data, std::size_t{n_tokens} * kQ);
    for (std::uint32_t t = 0; t < n_tokens; ++t)
        for (std::uint32_t head = 0; head < kHeads; ++head) {
            SCOPED_TRACE("token " + std::to_string(t) + ", head " + std::to_string(head));
            const auto row = std::span(found).subspan((std::size_t{t} * kHeads + head) * kHeadDim, kHeadDim);
            if (head >= kGroup)
                EXPECT_TRUE(all_finite(row));
            else if (t < lost_token)
                continue;  // masked; but where tokens are worked on together, 0 · NaN reaches those before too
            else if (lost == Lost::kKey)
                EXPECT_TRUE(none_finite(row));
            else
                EXPECT_FALSE(std::isfinite(row[0]));
        }
}

}  // namespace

void check_that_nan_spreads(Bed& bed, std::span<const DType> weight_types) {
    for (const float poison : {kNaN, -kInfinity})
        for (const std::uint32_t n_tokens : {1u, 3u, 70u}) {
            SCOPED_TRACE(std::to_string(poison) + " in the last of " + std::to_string(n_tokens) + " tokens");
            for (const DType type : weight_types) {
                SCOPED_TRACE(dtype_info(type).name);
                check_matmul(bed, type, n_tokens, poison);
                check_expert_ffn(bed, type, n_tokens, poison);
            }
        }
    for (const DType type : {DType::kF32, DType::kF16, DType::kQ8_0})
        for (const std::uint32_t n_tokens : {1u, 5u}) {
            SCOPED_TRACE(std::string(dtype_info(type).name) + " cache of " + std::to_string(n_tokens) + " tokens");
            // An infinite key may leave finite results: weight 0, or 1 for its value.
            check_attention(bed, type, Lost::kKey, n_tokens);
            check_attention(bed, type, Lost::kValue, n_tokens);
        }
}

void check_that_nan_spreads(Bed& bed) {
    std::vector<DType> types;
    for (const DTypeInfo& info : all_dtypes()) types.push_back(info.type);
    check_that_nan_spreads(bed, types);
}

}  // namespace lfm::operation_cases
