// The table of operation cases that every backend passes: one struct per operation (kv_append and attention are one)
// with sizes and types; the data are made from the seed. The table is the same for every backend.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "memory/dtype.h"

namespace lfm::operation_cases {

/// The largest sizes of any case.
inline constexpr BackendLimits kLimits{.n_batch = 513, .n_ctx = 2048};
inline constexpr std::uint32_t kMostHeadDim = 128;
inline constexpr std::uint32_t kMostExpertsUsed = 8;
inline constexpr std::uint32_t kMoeLayers = 3;

/// Where a result goes: to memory of its own, or over the first or second operand.
enum class Result : std::uint8_t { kApart, kOverFirst, kOverSecond };

struct EmbedCase {
    DType type;
    std::uint32_t n_vocab, n_embd, n_tokens;
    std::uint64_t seed;
};

struct RmsNormCase {
    std::uint32_t n_cols, n_tokens, n_outputs;
    RowSet rows;
    Result result;
    float spread;  // of the input
    std::uint64_t seed;
};

struct MatmulCase {
    std::uint32_t n_weights;
    std::array<DType, 3> types;
    std::array<std::uint32_t, 3> n_out;
    std::uint32_t n_in, n_tokens, n_outputs;
    RowSet rows;
    std::uint64_t seed;
};

struct QkNormRopeCase {
    std::uint32_t head_dim, n_head, n_head_kv, n_tokens, position;
    std::uint64_t seed;
};

/// Appends n_tokens keys and values at `position` of a filled cache, then attends.
struct AttentionCase {
    DType k_type, v_type;
    std::uint32_t head_dim, n_head_kv, n_group, position, n_tokens;
    std::uint64_t seed;
};

/// n_tokens from `position` on, `cut` at a time. At position 0 the state is stale.
struct ShortConvCase {
    std::uint32_t n_embd, l_cache, position, n_tokens, cut;
    std::uint64_t seed;
};

struct ElementwiseCase {
    std::uint32_t n_cols, n_tokens;
    Result result;
    std::uint64_t seed;
};
struct SwigluCase : ElementwiseCase {};
struct AddCase : ElementwiseCase {};

/// kTies: each second expert is its neighbour's twin. kNaN: some tokens' logits are NaN.
enum class Routing : std::uint8_t { kPlain, kBias, kForced, kTies, kNaN };

struct RouteCase {
    DType type;
    std::uint32_t n_expert, n_expert_used, n_embd, n_tokens;
    Routing routing;
    float scale;
    std::uint64_t seed;
};

/// Where the experts are. kStaged: some staged, of which some are held too, and some held elsewhere.
enum class Holding : std::uint8_t { kHere, kHereAndElsewhere, kStaged, kElsewhere };

struct ExpertFfnCase {
    std::array<DType, 3> types;  // gate, up, down
    std::uint32_t n_expert, n_expert_used, n_embd, n_ff, n_tokens;
    Holding holding;
    std::uint64_t seed;
};

struct CopyCase {
    std::uint32_t n_parts;
    std::array<std::uint32_t, 4> n_cols;
    std::uint32_t n_tokens, n_outputs;
    RowSet rows;
    std::uint64_t seed;
};

std::vector<EmbedCase> embed_cases();
std::vector<RmsNormCase> rms_norm_cases();
/// Those whose first weight is of this type; the others take turns among common types.
std::vector<MatmulCase> matmul_cases(DType type);
std::vector<QkNormRopeCase> qk_norm_rope_cases();
std::vector<AttentionCase> attention_cases();
std::vector<ShortConvCase> short_conv_cases();
std::vector<SwigluCase> swiglu_cases();
std::vector<RouteCase> route_cases();
std::vector<ExpertFfnCase> expert_ffn_cases();
std::vector<AddCase> add_cases();
std::vector<CopyCase> copy_cases();

/// "matmul Q4_K [33, 512] + F16 [7, 512], 94 tokens, seed 12"
std::string name(const EmbedCase& operation_case);
std::string name(const RmsNormCase& operation_case);
std::string name(const MatmulCase& operation_case);
std::string name(const QkNormRopeCase& operation_case);
std::string name(const AttentionCase& operation_case);
std::string name(const ShortConvCase& operation_case);
std::string name(const SwigluCase& operation_case);
std::string name(const RouteCase& operation_case);
std::string name(const ExpertFfnCase& operation_case);
std::string name(const AddCase& operation_case);
std::string name(const CopyCase& operation_case);

/// The weight types a backend must support to run a case.
inline std::span<const DType> weight_types(const EmbedCase& each) { return {&each.type, 1}; }
inline std::span<const DType> weight_types(const RouteCase& each) { return {&each.type, 1}; }
inline std::span<const DType> weight_types(const ExpertFfnCase& each) { return each.types; }
inline std::span<const DType> weight_types(const MatmulCase& each) { return {each.types.data(), each.n_weights}; }
template <typename Other>
std::span<const DType> weight_types(const Other&) {
    return {};
}

}  // namespace lfm::operation_cases
