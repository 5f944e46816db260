#include "tests/backends/operation_cases/reference.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>

#include "memory/blocks.h"
#include "memory/half.h"

namespace lfm::operation_cases::reference {
namespace {

/// Eight sums, so that additions need not wait for one another.
double dot(const double* a, const double* b, std::size_t n) {
    double sums[8] = {};
    std::size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (std::size_t lane = 0; lane < 8; ++lane) sums[lane] += a[i + lane] * b[i + lane];
    for (; i < n; ++i) sums[0] += a[i] * b[i];
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

/// Σ over rows of each column's squares.
Values column_squares(std::span<const double> rows, std::size_t n_cols) {
    Values squares(n_cols);
    for (std::size_t i = 0; i < rows.size(); i += n_cols)
        for (std::size_t c = 0; c < n_cols; ++c) squares[c] += rows[i + c] * rows[i + c];
    return squares;
}

float largest_of(std::span<const float> x) {
    float largest = 0;
    for (const float value : x) largest = std::max(largest, std::fabs(value));
    return largest;
}

}  // namespace

bool meets_quantised(DType weight_type) {
    return weight_type != DType::kF32 && weight_type != DType::kF16 && weight_type != DType::kBF16;
}

Values as_multiplied(std::span<const float> x, DType weight_type, Activations activations) {
    Values values(x.begin(), x.end());
    if (activations == Activations::kPlain || !meets_quantised(weight_type)) return values;
    for (std::size_t begin = 0; begin < x.size(); begin += 32) {
        const std::span<const float> block = x.subspan(begin, 32);
        const bool finite = std::ranges::all_of(block, [](float value) { return std::isfinite(value); });
        const float scale = largest_of(block) / 127.0f;
        if (!finite) std::fill_n(values.begin() + static_cast<std::ptrdiff_t>(begin), 32, NAN);
        for (std::size_t i = 0; i < 32 && finite; ++i)
            values[begin + i] = scale < FLT_MIN ? 0.0 : double{scale} * std::nearbyint(block[i] / scale);
    }
    return values;
}

Sums matmul(std::span<const double> x, std::span<const double> weight, std::uint32_t n_in) {
    Sums sums;
    sums.values.reserve(x.size() / n_in * (weight.size() / n_in));
    for (std::size_t t = 0; t < x.size(); t += n_in)
        for (std::size_t r = 0; r < weight.size(); r += n_in) sums.values.push_back(dot(&x[t], &weight[r], n_in));
    const Values x_squares = column_squares(x, n_in), w_squares = column_squares(weight, n_in);
    sums.terms = dot(x_squares.data(), w_squares.data(), n_in);
    return sums;
}

Values rms_norm(std::span<const float> x, std::span<const float> weight, double eps) {
    Values out(x.size());
    const std::size_t n = weight.size();
    for (std::size_t row = 0; row < x.size(); row += n) {
        double squares = 0;
        for (std::size_t i = 0; i < n; ++i) squares += double{x[row + i]} * x[row + i];
        const double size = std::sqrt(squares / static_cast<double>(n) + eps);
        for (std::size_t i = 0; i < n; ++i) out[row + i] = weight[i] * double{x[row + i]} / size;
    }
    return out;
}

Values norm_rope(std::span<const float> x, std::span<const float> weight, std::span<const float> rope,
                 std::uint32_t n_tokens, double eps) {
    const Values normed = rms_norm(x, weight, eps);
    const std::size_t head_dim = weight.size(), half = head_dim / 2, per_token = x.size() / n_tokens;
    Values out(x.size());
    for (std::size_t head = 0; head < x.size(); head += head_dim) {
        const std::span<const float> turn = rope.subspan(head / per_token * head_dim, head_dim);
        for (std::size_t i = 0; i < half; ++i) {
            const double a = normed[head + i], b = normed[head + half + i], cosine = turn[i], sine = turn[half + i];
            out[head + i] = a * cosine - b * sine;
            out[head + half + i] = a * sine + b * cosine;
        }
    }
    return out;
}

std::vector<std::byte> stored(DType type, std::span<const float> x) {
    std::vector<std::byte> bytes(row_bytes(type, x.size()));
    if (x.empty()) return bytes;
    switch (type) {
        case DType::kF16:
            for (std::size_t i = 0; i < x.size(); ++i) {
                const std::uint16_t half = f32_to_f16(x[i]);
                std::memcpy(&bytes[2 * i], &half, sizeof half);
            }
            break;
        case DType::kQ8_0:
            for (std::size_t i = 0; i < x.size(); i += 32) {
                const float scale = largest_of(x.subspan(i, 32)) / 127.0f;
                BlockQ8_0 block{.d = f32_to_f16(scale)};
                for (std::size_t j = 0; j < 32; ++j)
                    block.qs[j] = static_cast<std::int8_t>(scale > 0 ? std::nearbyint(x[i + j] / scale) : 0.0f);
                std::memcpy(&bytes[i / 32 * sizeof block], &block, sizeof block);
            }
            break;
        default: std::memcpy(bytes.data(), x.data(), bytes.size()); break;
    }
    return bytes;
}

Values attention(std::span<const float> q, std::span<const double> k, std::span<const double> v,
                 const AttentionSizes& sizes) {
    const std::size_t head_dim = sizes.head_dim, kv_width = sizes.n_head_kv * head_dim;
    const std::size_t heads_per_kv = sizes.n_head / sizes.n_head_kv;
    const Values queries(q.begin(), q.end());
    Values out(q.size()), weights(sizes.position + sizes.n_tokens);
    for (std::size_t t = 0; t < sizes.n_tokens; ++t)
        for (std::size_t head = 0; head < sizes.n_head; ++head) {
            const std::size_t at = (t * sizes.n_head + head) * head_dim;
            const std::size_t kv_at = head / heads_per_kv * head_dim;
            const std::size_t n_keys = sizes.position + t + 1;
            double largest = -HUGE_VAL, total = 0;
            for (std::size_t p = 0; p < n_keys; ++p) {
                weights[p] =
                    dot(&queries[at], &k[p * kv_width + kv_at], head_dim) / std::sqrt(static_cast<double>(head_dim));
                largest = std::max(largest, weights[p]);
            }
            for (std::size_t p = 0; p < n_keys; ++p) total += weights[p] = std::exp(weights[p] - largest);
            for (std::size_t p = 0; p < n_keys; ++p)
                for (std::size_t i = 0; i < head_dim; ++i)
                    out[at + i] += weights[p] / total * v[p * kv_width + kv_at + i];
        }
    return out;
}

ShortConv short_conv(std::span<const float> bcx, std::span<const float> taps, std::span<const float> state,
                     std::uint32_t n_embd, std::uint32_t l_cache) {
    const std::size_t n_tokens = bcx.size() / (3 * std::size_t{n_embd}), n_past = l_cache - 1;
    // s of the past and of the step, oldest first.
    Values s(n_past * n_embd);
    std::copy(state.begin(), state.end(), s.begin());
    for (std::size_t t = 0; t < n_tokens; ++t)
        for (std::size_t c = 0; c < n_embd; ++c) {
            const float* row = &bcx[t * 3 * n_embd];
            s.push_back(double{row[c]} * row[2 * n_embd + c]);
        }
    ShortConv result;
    for (std::size_t t = 0; t < n_tokens; ++t)
        for (std::size_t c = 0; c < n_embd; ++c) {
            double sum = 0;
            for (std::size_t j = 0; j < l_cache; ++j) sum += taps[c * l_cache + j] * s[(t + j) * n_embd + c];
            result.out.push_back(sum * bcx[t * 3 * n_embd + n_embd + c]);
        }
    result.state.assign(s.end() - static_cast<std::ptrdiff_t>(n_past * n_embd), s.end());
    return result;
}

double silu(double x) { return x / (1 + std::exp(-x)); }

Values router_scores(std::span<const double> logits) {
    Values scores;
    for (const double logit : logits) scores.push_back(1 / (1 + std::exp(-logit)));
    return scores;
}

std::vector<std::int32_t> choose(std::span<const double> scores, std::span<const float> bias, std::uint32_t k) {
    std::vector<std::int32_t> ids(scores.size());
    for (std::size_t e = 0; e < ids.size(); ++e) ids[e] = static_cast<std::int32_t>(e);
    const auto ranking = [&](std::int32_t e) {
        const auto i = static_cast<std::size_t>(e);
        return scores[i] + (bias.empty() ? 0.0 : bias[i]);
    };
    std::ranges::stable_sort(ids, [&](std::int32_t a, std::int32_t b) { return ranking(a) > ranking(b); });
    ids.resize(k);
    return ids;
}

Values route_weights(std::span<const double> scores, std::span<const std::int32_t> ids, double scale) {
    Values weights;
    double sum = 0;
    for (const std::int32_t id : ids) sum += scores[static_cast<std::size_t>(id)];
    for (const std::int32_t id : ids) weights.push_back(scores[static_cast<std::size_t>(id)] / (sum + 1e-6) * scale);
    return weights;
}

Sums expert_ffn(const ExpertOperands& operands, Activations activations) {
    const std::size_t n_embd = operands.n_embd, n_ff = operands.n_ff;
    const Values for_gate = as_multiplied(operands.x, operands.gate_type, activations);
    const Values for_up = as_multiplied(operands.x, operands.up_type, activations);
    std::vector<Values> down_squares(operands.experts.size());
    Sums sums{.values = Values(operands.x.size())};
    std::vector<float> hidden(n_ff);
    for (std::size_t i = 0; i < operands.ids.size(); ++i) {
        const auto id = static_cast<std::size_t>(operands.ids[i]);
        const ExpertMatrices& expert = operands.experts[id];
        if (expert.down.empty()) continue;
        const std::size_t token = i / operands.n_expert_used * n_embd;
        for (std::size_t f = 0; f < n_ff; ++f)
            hidden[f] = static_cast<float>(silu(dot(&for_gate[token], &expert.gate[f * n_embd], n_embd)) *
                                           dot(&for_up[token], &expert.up[f * n_embd], n_embd));
        const Values for_down = as_multiplied(hidden, operands.down_type, activations);
        const double weight = operands.weights[i];
        for (std::size_t c = 0; c < n_embd; ++c)
            sums.values[token + c] += weight * dot(for_down.data(), &expert.down[c * n_ff], n_ff);
        if (down_squares[id].empty()) down_squares[id] = column_squares(expert.down, n_ff);
        for (std::size_t f = 0; f < n_ff; ++f)
            sums.terms += weight * weight * for_down[f] * for_down[f] * down_squares[id][f];
    }
    return sums;
}

}  // namespace lfm::operation_cases::reference
