#include "backends/sim/sim_rates.h"

#include <algorithm>

namespace lfm::sim {
namespace {

double at(const std::array<double, kTypeIds>& rates, DType type) { return rates[static_cast<std::size_t>(type)]; }

class Durations {
public:
    Durations(const SimRates& rates, const StepParams& step, std::span<const std::uint32_t> tokens_of_expert)
        : rates_(rates), step_(step), tokens_of_expert_(tokens_of_expert) {}

    double operator()(const MatmulArgs& args) const {
        double seconds = 0;
        const std::uint32_t n = args.rows == RowSet::kTokens ? step_.n_tokens : step_.n_outputs;
        for (const MatmulOutput& output : std::span(args.outputs).first(args.n_outputs))
            seconds += matrix(output.weight.type, output.weight.n_out, output.weight.n_in, n);
        return seconds;
    }

    double operator()(const RouteArgs& args) const {
        return matrix(args.router.type, args.router.n_out, args.router.n_in, step_.n_tokens);
    }

    /// A sequence's one token reads its keys and values once. Many of one sequence: scores and their products with the
    /// values; a token sees half of them on average, and all that was before.
    double operator()(const AttentionArgs& args) const {
        const KvView& cache = args.cache;
        const std::uint64_t n_kv = std::uint64_t{cache.n_head_kv} * cache.head_dim;
        const auto row = static_cast<double>(row_bytes(cache.k_type, n_kv) + row_bytes(cache.v_type, n_kv));
        double seconds = 0;
        for (std::size_t i = 0; i < step_.n_sequences(); ++i) {
            const StepSequence sequence = step_.sequence(i);
            const double n = sequence.n_rows, keys = sequence.position + n / 2;
            if (sequence.n_rows == 1) seconds += row * (sequence.position + 1.0) * rates_.attention_seconds_per_byte;
            if (sequence.n_rows > 1)
                seconds += 4 * n * keys * args.q.n_cols * at(rates_.gemm_seconds_per_flop, cache.k_type);
        }
        return seconds;
    }

    double operator()(const ExpertFfnArgs& args) const {
        double seconds = 0;
        const std::uint32_t tile = rates_.tile_tokens;
        for (const std::uint32_t n_tokens : tokens_of_expert_) {
            if (n_tokens == 0) continue;
            const std::uint32_t n = step_.n_tokens > 1 ? (n_tokens + tile - 1) / tile * tile : n_tokens;
            seconds += matrix(args.gate_type, args.n_ff, args.x.n_cols, n) +
                       matrix(args.up_type, args.n_ff, args.x.n_cols, n) +
                       matrix(args.down_type, args.x.n_cols, args.n_ff, n);
        }
        return seconds;
    }

    template <typename RowByRow>
    double operator()(const RowByRow&) const {
        return 0;
    }

private:
    /// A step of one token reads the matrix once; in others bytes or sums count, whichever takes longer.
    double matrix(DType type, std::uint32_t n_out, std::uint32_t n_in, std::uint32_t n) const {
        if (n == 0) return 0;
        const double bytes = static_cast<double>(n_out) * static_cast<double>(row_bytes(type, n_in)) *
                             at(rates_.matvec_seconds_per_byte, type);
        if (step_.n_tokens == 1) return bytes;
        const double sums = 2.0 * n * n_out * n_in * at(rates_.gemm_seconds_per_flop, type);
        return std::max(bytes, sums);
    }

    const SimRates& rates_;
    const StepParams& step_;
    std::span<const std::uint32_t> tokens_of_expert_;
};

}  // namespace

const char* operation_name(const Operation& operation) {
    // In the order of Operation's alternatives.
    static constexpr std::array<const char*, std::variant_size_v<Operation>> kNames{
        "embed",      "rms_norm", "matmul", "qk_norm_rope", "kv_append", "attention",
        "short_conv", "swiglu",   "route",  "expert_ffn",   "add",       "copy"};
    return kNames[operation.index()];
}

double operation_seconds(const SimRates& rates, const Operation& operation, const StepParams& step,
                         std::span<const std::uint32_t> tokens_of_expert) {
    return rates.operation_seconds + std::visit(Durations(rates, step, tokens_of_expert), operation);
}

double copy_seconds(const SimRates& rates, std::size_t n_bytes) {
    if (n_bytes == 0) return 0;
    return rates.copy_seconds + static_cast<double>(n_bytes) * rates.h2d_seconds_per_byte;
}

}  // namespace lfm::sim
