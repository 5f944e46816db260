// The operations of backends/backend.h in f64: the formulas of its comments in plain loops, independent of any backend.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "memory/dtype.h"

namespace lfm::operation_cases::reference {

using Values = std::vector<double>;

/// Whether a backend quantises activations for quantised weights. All do, except the CPU's exact kernels and devices
/// opened with ActivationKind::kFloat.
enum class Activations : std::uint8_t { kQuantised, kPlain };

/// Whether weights of this type are multiplied with quantised activations: all but F32, F16 and BF16.
bool meets_quantised(DType weight_type);

/// Rows as they are multiplied with weights of this type: blocks of 32, scale = max|x| / 127 in f32 (0 when that is
/// subnormal), x / scale rounded to the nearest integer; NaN for a block that is not finite.
Values as_multiplied(std::span<const float> x, DType weight_type, Activations activations);

/// `terms` = Σ (w x)² over all sums: what Σ y² is for random signs, and a better measure of size when y happens to
/// cancel.
struct Sums {
    Values values;
    double terms = 0;
};

/// [n_rows, n_in] times the transpose of [n_out, n_in]: [n_rows, n_out].
Sums matmul(std::span<const double> x, std::span<const double> weight, std::uint32_t n_in);

Values rms_norm(std::span<const float> x, std::span<const float> weight, double eps);

/// x is [n, n_heads, head_dim]; rope is [n, head_dim], cosines then sines.
Values norm_rope(std::span<const float> x, std::span<const float> weight, std::span<const float> rope,
                 std::uint32_t n_tokens, double eps);

/// Rows as a cache of this type keeps them: f16 rounded to nearest even; Q8_0 with scale max|x| / 127 kept as f16.
std::vector<std::byte> stored(DType type, std::span<const float> x);

struct AttentionSizes {
    std::uint32_t n_tokens, position, n_head, n_head_kv, head_dim;
};
/// k and v are [position + n_tokens, n_head_kv, head_dim].
Values attention(std::span<const float> q, std::span<const double> k, std::span<const double> v,
                 const AttentionSizes& sizes);

struct ShortConv {
    Values out;    // [n, n_embd]
    Values state;  // [l_cache − 1, n_embd], afterwards
};
/// `state` empty: the sequence begins.
ShortConv short_conv(std::span<const float> bcx, std::span<const float> taps, std::span<const float> state,
                     std::uint32_t n_embd, std::uint32_t l_cache);

double silu(double x);

/// sigmoid of each logit.
Values router_scores(std::span<const double> logits);
/// The k largest of one token's score + bias, largest first, the lower index first among equals.
std::vector<std::int32_t> choose(std::span<const double> scores, std::span<const float> bias, std::uint32_t k);
/// The weights of one token's chosen experts.
Values route_weights(std::span<const double> scores, std::span<const std::int32_t> ids, double scale);

struct ExpertMatrices {
    std::span<const double> gate, up, down;
};
struct ExpertOperands {
    std::span<const float> x;  // [n, n_embd]
    std::uint32_t n_embd, n_ff, n_expert_used;
    std::span<const std::int32_t> ids;        // [n, n_expert_used]
    std::span<const float> weights;           // [n, n_expert_used]
    std::span<const ExpertMatrices> experts;  // [n_expert]; those left out have no values
    DType gate_type, up_type, down_type;
};
Sums expert_ffn(const ExpertOperands& operands, Activations activations);

}  // namespace lfm::operation_cases::reference
