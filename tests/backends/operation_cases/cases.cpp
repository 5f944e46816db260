#include "tests/backends/operation_cases/cases.h"

#include <algorithm>
#include <iterator>
#include <span>

namespace lfm::operation_cases {
namespace {

/// Around the sizes of registers, tiles and groups; 94 tokens crashed other engines.
constexpr std::uint32_t kTokens[] = {1,  2,  3,  4,  5,  7,   8,   9,   15,  16,  17,  31,  32,
                                     33, 63, 64, 65, 94, 127, 128, 129, 255, 256, 257, 512, 513};

template <typename Value, std::size_t n>
Value turn(const Value (&values)[n], std::size_t i) {
    return values[i % n];
}

/// The i-th of `sizes` (descending), or the first after it, that is a multiple of `block` and at most `most`; when none
/// is, the smallest multiple.
std::uint32_t fitting(std::span<const std::uint32_t> sizes, std::size_t i, std::uint32_t block, std::uint64_t most) {
    std::uint32_t smallest = block;
    for (i %= sizes.size(); i < sizes.size(); ++i) {
        if (sizes[i] % block != 0) continue;
        smallest = sizes[i];
        if (sizes[i] <= most) return sizes[i];
    }
    return smallest;
}

std::uint32_t block_of(std::span<const DType> types) {
    std::uint32_t block = 32;
    for (const DType type : types) block = std::max(block, dtype_info(type).block_size);
    return block;
}

constexpr std::uint32_t kWidths[] = {2048, 1536, 1024, 768, 512, 256, 160, 96, 64, 32};

}  // namespace

std::vector<EmbedCase> embed_cases() {
    constexpr std::uint32_t kVocabularies[] = {1, 7, 65, 301};
    std::vector<EmbedCase> cases;
    for (const DTypeInfo& info : all_dtypes())
        for (std::size_t j = 0; j < 6; ++j) {
            const std::size_t i = cases.size();
            cases.push_back({.type = info.type,
                             .n_vocab = turn(kVocabularies, i),
                             .n_embd = fitting(kWidths, 3 * i, std::max(info.block_size, 32u), 2048),
                             .n_tokens = turn(kTokens, 5 * i),
                             .seed = i});
        }
    return cases;
}

std::vector<RmsNormCase> rms_norm_cases() {
    constexpr std::uint32_t kNormWidths[] = {32,  33,  64,  100,  128,  255,  256,  333,
                                             512, 768, 999, 1024, 1536, 2048, 2560, 4096};
    constexpr float kSpreads[] = {1, 0.01f, 300, 1e-6f};
    std::vector<RmsNormCase> cases;
    for (std::size_t i = 0; i < 4 * std::size(kNormWidths); ++i) {
        const std::uint32_t n_tokens = turn(kTokens, 7 * i + i / 26);
        const RowSet rows = i % 3 == 1 ? RowSet::kOutputs : RowSet::kTokens;
        cases.push_back({.n_cols = turn(kNormWidths, i),
                         .n_tokens = n_tokens,
                         .n_outputs = rows == RowSet::kOutputs ? static_cast<std::uint32_t>(i % (n_tokens + 1)) : 1,
                         .rows = rows,
                         .result = i % 2 == 0 ? Result::kApart : Result::kOverFirst,
                         .spread = turn(kSpreads, i / 5),
                         .seed = i});
    }
    return cases;
}

std::vector<MatmulCase> matmul_cases(DType type) {
    using enum DType;
    constexpr DType kOthers[] = {kF16, kQ8_0, kQ6_K, kF32, kQ4_0, kQ4_K, kBF16, kMXFP4, kQ5_K};
    constexpr std::uint32_t kOutputs[] = {513, 257, 160, 127, 128, 65, 64, 33, 17, 16, 8, 7, 3, 1};
    constexpr std::uint64_t kMostWork = 3'000'000;  // multiply-adds: the reference in f64 takes 1 ns or two for each
    constexpr std::uint64_t kMostWeights = 1 << 19;
    const auto index = static_cast<std::size_t>(type);
    std::vector<MatmulCase> cases;
    for (std::size_t i = 0; i < 64; ++i) {
        MatmulCase next{.types = {type, turn(kOthers, i + index), turn(kOthers, 2 * i + 3 + index)},
                        .seed = 100 * index + i};
        next.n_weights = static_cast<std::uint32_t>(1 + i % 3);
        next.n_tokens = turn(kTokens, i);
        const bool on_outputs = i >= 2 * std::size(kTokens);
        next.rows = on_outputs ? RowSet::kOutputs : RowSet::kTokens;
        constexpr std::uint32_t kOutputRows[] = {1, 0, 2, 3, 9, 33};
        if (on_outputs) {
            next.n_outputs = turn(kOutputRows, i);
            next.n_tokens = next.n_outputs + turn(kTokens, 3 * i);
        }
        const std::uint64_t n_rows = std::max(on_outputs ? next.n_outputs : next.n_tokens, 1u);
        const std::uint32_t block = block_of(std::span(next.types).first(next.n_weights));
        next.n_in = fitting(kWidths, 3 * i + i / 26, block, kMostWork / n_rows / 40 / next.n_weights);
        for (std::size_t j = 0; j < next.n_weights; ++j)
            next.n_out[j] = fitting(kOutputs, 5 * i + 4 * j + index, 1,
                                    std::min(kMostWeights, kMostWork / n_rows / next.n_weights) / next.n_in);
        cases.push_back(next);
    }
    return cases;
}

std::vector<QkNormRopeCase> qk_norm_rope_cases() {
    constexpr std::uint32_t kHeads[][2] = {{1, 1}, {8, 2}, {4, 4}, {16, 2}, {6, 3}, {32, 8}};
    constexpr std::uint32_t kHeadDims[] = {64, 128, 32};
    std::vector<QkNormRopeCase> cases;
    for (std::size_t i = 0; i < 52; ++i)
        cases.push_back({.head_dim = turn(kHeadDims, i),
                         .n_head = kHeads[i / 3 % 6][0],
                         .n_head_kv = kHeads[i / 3 % 6][1],
                         .n_tokens = turn(kTokens, i),
                         .position = static_cast<std::uint32_t>(i % 4 * 511),
                         .seed = i});
    return cases;
}

std::vector<AttentionCase> attention_cases() {
    using enum DType;
    constexpr DType kTypes[][2] = {{kF16, kF16}, {kF32, kF32}, {kQ8_0, kQ8_0}, {kF16, kQ8_0}, {kQ8_0, kF32}};
    constexpr std::uint32_t kHeadDims[] = {64, 32, 128}, kGroups[] = {4, 1, 2, 8}, kKvHeads[] = {1, 2, 3, 8};
    constexpr std::uint32_t kPositions[] = {0, 1, 30, 63, 64, 65, 127, 200, 511, 1000, 1500, 2000};
    constexpr std::uint64_t kMostWork = 12'000'000;  // multiply-adds
    std::vector<AttentionCase> cases;
    for (std::size_t i = 0; i < 30 * std::size(kTypes); ++i) {
        AttentionCase next{.k_type = kTypes[i % 5][0], .v_type = kTypes[i % 5][1], .seed = i};
        const std::size_t j = i / 5 + i % 5;
        next.head_dim = turn(kHeadDims, j);
        next.n_group = turn(kGroups, i);
        next.n_head_kv = turn(kKvHeads, j / 2);
        next.n_tokens = i / 5 < std::size(kTokens) ? kTokens[i / 5] : turn(kTokens, i);
        next.position = next.n_tokens > 40 && i % 2 == 0 ? 0 : turn(kPositions, j + i / 5);
        const auto work = [&next] {
            return std::uint64_t{next.n_tokens} * (next.position + next.n_tokens / 2 + 1) * next.n_group *
                   next.n_head_kv * next.head_dim * 2;
        };
        next.position = std::min(next.position, kLimits.n_ctx - next.n_tokens);
        while (next.n_head_kv > 1 && work() > kMostWork) next.n_head_kv /= 2;
        while (next.position > 7 && work() > kMostWork) next.position = next.position * 2 / 3;
        while (next.head_dim > 32 && work() > kMostWork) next.head_dim /= 2;
        while (next.n_group > 1 && work() > kMostWork) next.n_group /= 2;
        cases.push_back(next);
    }
    return cases;
}

std::vector<ShortConvCase> short_conv_cases() {
    constexpr std::uint32_t kEmbeddings[] = {64, 256, 300, 1024, 33, 2048};
    constexpr std::uint32_t kCuts[] = {1, 2, 5, 16, 64, 513};
    std::vector<ShortConvCase> cases;
    for (std::size_t i = 0; i < 65; ++i) {
        const std::uint32_t cut = turn(kCuts, i / 5 + i);
        cases.push_back({.n_embd = turn(kEmbeddings, i / 2),
                         .l_cache = static_cast<std::uint32_t>(1 + i % 5),
                         .position = i % 3 == 0 ? static_cast<std::uint32_t>(i) : 0,
                         .n_tokens = cut == 1 ? 1 + static_cast<std::uint32_t>(i % 7) : turn(kTokens, 11 * i),
                         .cut = cut,
                         .seed = i});
    }
    return cases;
}

namespace {
constexpr std::uint32_t kElementWidths[] = {32, 1, 7, 65, 256, 300, 1000, 2048, 31, 4096};

template <typename Case, std::size_t n_results>
std::vector<Case> elementwise_cases(const Result (&results)[n_results]) {
    std::vector<Case> cases;
    for (std::size_t i = 0; i < 52; ++i) {
        const std::uint32_t n_tokens = turn(kTokens, i);
        const std::uint32_t n_cols = turn(kElementWidths, i + i / 26);
        cases.push_back({{.n_cols = std::min(n_cols, 300'000 / n_tokens),
                          .n_tokens = n_tokens,
                          .result = turn(results, i),
                          .seed = i}});
    }
    return cases;
}
}  // namespace

std::vector<SwigluCase> swiglu_cases() { return elementwise_cases<SwigluCase>({Result::kApart, Result::kOverFirst}); }

std::vector<AddCase> add_cases() {
    return elementwise_cases<AddCase>({Result::kApart, Result::kOverFirst, Result::kOverSecond});
}

std::vector<RouteCase> route_cases() {
    using enum DType;
    using enum Routing;
    constexpr DType kTypes[] = {kF32, kF16, kF32, kBF16, kF32, kQ8_0};
    constexpr std::uint32_t kExperts[] = {4, 32, 64, 5, 8, 128, 17, 33, 100};
    constexpr Routing kRoutings[] = {kBias, kPlain, kForced, kTies, kBias, kNaN, kForced};
    std::vector<RouteCase> cases;
    for (std::size_t i = 0; i < 130; ++i) {
        const std::uint32_t n_tokens = turn(kTokens, i), n_expert = turn(kExperts, i / 2);
        cases.push_back({.type = turn(kTypes, i / 3),
                         .n_expert = n_expert,
                         .n_expert_used = std::min(static_cast<std::uint32_t>(1 + i % kMostExpertsUsed), n_expert),
                         .n_embd = fitting(kWidths, i, 32, 12'000'000 / n_tokens / n_expert),
                         .n_tokens = n_tokens,
                         .routing = turn(kRoutings, i),
                         .scale = i % 4 == 3 ? 2.5f : 1.0f,
                         .seed = i});
    }
    return cases;
}

std::vector<ExpertFfnCase> expert_ffn_cases() {
    using enum DType;
    constexpr DType kTypes[][3] = {
        {kF32, kF32, kF32},    {kF16, kF16, kF16},       {kBF16, kBF16, kBF16},    {kQ4_0, kQ4_0, kQ4_0},
        {kQ8_0, kQ8_0, kQ8_0}, {kQ4_K, kQ4_K, kQ6_K},    {kQ5_K, kQ5_K, kQ5_K},    {kQ6_K, kQ6_K, kQ6_K},
        {kQ4_K, kQ4_K, kQ4_K}, {kMXFP4, kMXFP4, kMXFP4}, {kQ4_0, kQ8_0, kF16},     {kQ8_0, kF16, kQ4_0},
        {kF32, kQ4_0, kBF16},  {kQ4_1, kQ5_0, kQ5_1},    {kQ2_K, kQ3_K, kQ3_K},    {kIQ4_NL, kIQ4_NL, kIQ4_NL},
        {kQ6_K, kF16, kQ8_0},  {kQ5_K, kQ4_K, kF32},     {kIQ4_XS, kQ4_0, kIQ4_NL}};
    constexpr std::uint32_t kTokenCounts[] = {1, 33, 2, 94, 3, 513, 8, 17, 1, 129, 5, 256, 64};
    constexpr std::uint32_t kExperts[][2] = {{4, 1}, {32, 4}, {4, 2}, {8, 3}, {64, 4}, {5, 5}, {64, 8}, {128, 8}};
    constexpr std::uint32_t kFeedForwards[] = {512, 256, 160, 96, 64, 32};
    constexpr Holding kHoldings[] = {Holding::kHereAndElsewhere, Holding::kStaged, Holding::kHere,     Holding::kStaged,
                                     Holding::kHereAndElsewhere, Holding::kStaged, Holding::kElsewhere};
    constexpr std::uint64_t kMostWork = 9'000'000;     // multiply-adds
    constexpr std::uint64_t kMostWeights = 4'000'000;  // of one kind of matrix, all experts
    std::vector<ExpertFfnCase> cases;
    for (const auto& types : kTypes)
        for (std::size_t j = 0; j < 10; ++j) {
            const std::size_t i = cases.size();
            ExpertFfnCase next{.types = {types[0], types[1], types[2]}, .seed = i};
            next.n_tokens = turn(kTokenCounts, i);
            next.n_expert = kExperts[i % 8][0];
            next.n_expert_used = kExperts[i % 8][1];
            const std::uint32_t block = block_of(std::span(next.types).first(2));
            next.n_embd = fitting(std::span(kWidths).subspan(4), i + j, block, 512);
            const std::uint64_t n_pairs = std::uint64_t{next.n_tokens} * next.n_expert_used;
            next.n_ff = fitting(kFeedForwards, i + i / 6, std::max(dtype_info(types[2]).block_size, 32u),
                                kMostWork / 3 / n_pairs / next.n_embd);
            while (next.n_expert > 8 && std::uint64_t{next.n_expert} * next.n_embd * next.n_ff > kMostWeights)
                next.n_expert /= 2;
            while (next.n_expert_used > 1 && 3 * n_pairs * next.n_embd * next.n_ff > 8 * kMostWork)
                next.n_expert_used = 1;
            next.holding = turn(kHoldings, i);
            cases.push_back(next);
        }
    return cases;
}

std::vector<CopyCase> copy_cases() {
    std::vector<CopyCase> cases;
    for (std::size_t i = 0; i < 52; ++i) {
        const std::uint32_t n_tokens = turn(kTokens, i);
        CopyCase next{.n_parts = static_cast<std::uint32_t>(1 + i % 4), .n_tokens = n_tokens, .seed = i};
        next.rows = i % 3 == 1 ? RowSet::kOutputs : RowSet::kTokens;
        next.n_outputs = next.rows == RowSet::kOutputs ? static_cast<std::uint32_t>(3 * i % (n_tokens + 1)) : 1;
        // Parts of one width, or of several: hidden rows, ids and weights are copied between devices together.
        for (std::size_t part = 0; part < next.n_parts; ++part)
            next.n_cols[part] =
                std::min(turn(kElementWidths, i + i / 26 + (i % 2 == 0 ? 0 : 3 * part)), 300'000 / n_tokens);
        cases.push_back(next);
    }
    return cases;
}

}  // namespace lfm::operation_cases
