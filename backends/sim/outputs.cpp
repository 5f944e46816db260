#include "backends/sim/outputs.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "backends/needs/kv_pages.h"

namespace lfm::sim {
namespace {

class NanWriter {
public:
    explicit NanWriter(const StepParams& step) : step_(step) {}

    void operator()(const EmbedArgs& args) const { rows(args.out); }
    void operator()(const RmsNormArgs& args) const { rows(args.out, args.rows); }
    void operator()(const MatmulArgs& args) const {
        for (const MatmulOutput& output : std::span(args.outputs).first(args.n_outputs)) rows(output.out, args.rows);
    }
    void operator()(const QkNormRopeArgs& args) const {
        rows(args.q);
        rows(args.k);
    }
    void operator()(const KvAppendArgs& args) const {
        const std::uint64_t n = std::uint64_t{args.cache.n_head_kv} * args.cache.head_dim;
        cache_rows(args.cache.k, row_bytes(args.cache.k_type, n));
        cache_rows(args.cache.v, row_bytes(args.cache.v_type, n));
    }
    void operator()(const AttentionArgs& args) const { rows(args.out); }
    void operator()(const ShortConvArgs& args) const { rows(args.out); }
    void operator()(const SwigluArgs& args) const { rows(args.out); }
    void operator()(const RouteArgs& args) const { rows({args.out.weights, args.n_expert_used}); }
    void operator()(const ExpertFfnArgs& args) const { rows(args.out); }
    void operator()(const AddArgs& args) const { rows(args.out); }
    void operator()(const CopyArgs&) const {}

private:
    void rows(RowsView view, RowSet set = RowSet::kTokens) const {
        const std::size_t n = set == RowSet::kTokens ? step_.n_tokens : step_.n_outputs;
        std::fill_n(view.data, n * view.n_cols, std::numeric_limits<float>::quiet_NaN());
    }
    /// All bits set is NaN in F32 and F16, and so is the scale of a Q8_0 block.
    void cache_rows(std::byte* cache, std::size_t row_size) const {
        for (std::size_t i = 0; i < step_.n_sequences(); ++i) {
            const StepSequence sequence = step_.sequence(i);
            for (std::uint32_t t = sequence.n_replayed; t < sequence.n_rows; ++t)
                std::memset(cache + kv_row(sequence.pages, sequence.position + t) * row_size, 0xff, row_size);
        }
    }

    const StepParams& step_;
};

}  // namespace

void write_nan(const Operation& operation, const StepParams& step) { std::visit(NanWriter(step), operation); }

void route_without_router(const RouteArgs& args, const StepParams& step) {
    const std::size_t k = args.n_expert_used, n_choices = step.n_tokens * k;
    if (step.forced_experts != nullptr)
        std::copy_n(step.forced_experts + args.moe_layer * n_choices, n_choices, args.out.ids);
    else
        for (std::size_t i = 0; i < n_choices; ++i) args.out.ids[i] = static_cast<std::int32_t>(i % k);
    std::fill_n(args.out.weights, n_choices, 1.0f / static_cast<float>(k));
}

}  // namespace lfm::sim
