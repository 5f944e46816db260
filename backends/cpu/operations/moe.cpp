// Operations of a mixture-of-experts layer: route and expert_ffn.
#include <algorithm>
#include <cmath>

#include "backends/cpu/operations/context.h"

namespace lfm::cpu {
namespace {

/// The k largest of p + bias into ids, largest first; ties and NaN go to the lower index. `p` has n_expert entries.
void select_largest(const float* p, const float* bias, std::uint32_t n_expert, std::uint32_t k, std::int32_t* ids) {
    for (std::uint32_t j = 0; j < k; ++j) {
        std::int32_t best = -1;
        float best_score = 0;
        for (std::uint32_t e = 0; e < n_expert; ++e) {
            if (std::find(ids, ids + j, static_cast<std::int32_t>(e)) != ids + j) continue;
            const float score = bias != nullptr ? p[e] + bias[e] : p[e];
            if (best < 0 || score > best_score) {
                best = static_cast<std::int32_t>(e);
                best_score = score;
            }
        }
        ids[j] = best;
    }
}

/// One token: logits in, choice out. The weights are the scores without the bias.
void route_token(const RouteArgs& args, float* logits, const std::int32_t* forced, std::int32_t* ids, float* weights) {
    const std::uint32_t n_expert = args.router.n_out;
    for (std::uint32_t e = 0; e < n_expert; ++e) logits[e] = 1.0f / (1.0f + std::exp(-logits[e]));
    if (forced != nullptr)
        std::copy_n(forced, args.n_expert_used, ids);
    else
        select_largest(logits, args.bias, n_expert, args.n_expert_used, ids);
    float sum = 0;
    for (std::uint32_t j = 0; j < args.n_expert_used; ++j) sum += weights[j] = logits[ids[j]];
    constexpr float kFloor = 1e-6f;  // of the model's definition
    for (std::uint32_t j = 0; j < args.n_expert_used; ++j) weights[j] *= args.scale / (sum + kFloor);
}

/// Sorts the (token, choice) pairs of the experts computed here by expert, keeping the tokens' order. Returns how many
/// of these experts have rows.
std::uint32_t group_by_expert(const Context& context, const ExpertFfnArgs& args) {
    const Scratch& scratch = context.scratch;
    const std::uint32_t n_expert = args.experts->n_expert();
    const std::uint32_t n_pairs = context.step.n_tokens * args.n_expert_used;
    const auto held = [&](std::int32_t id) {
        if (static_cast<std::uint32_t>(id) >= n_expert) return false;  // a failing device may have written this id
        const bool staged = args.staged.slot_of != nullptr && args.staged.slot_of[id] >= 0;
        if (args.set == ExpertSet::kStaged) return staged;
        return !staged && (*args.experts)[{args.layer, static_cast<std::uint32_t>(id)}].holder == context.self;
    };
    std::uint32_t* begin = scratch.expert_begin;
    std::fill_n(begin, n_expert + 1, 0u);
    for (std::uint32_t i = 0; i < n_pairs; ++i)
        if (held(args.choice.ids[i])) ++begin[args.choice.ids[i] + 1];
    std::uint32_t n_active = 0;
    for (std::uint32_t e = 0; e < n_expert; ++e) {
        if (begin[e + 1] > 0) scratch.active[n_active++] = e;
        begin[e + 1] += begin[e];
    }
    // Filling moves each begin to its end; afterwards they are shifted back.
    for (std::uint32_t i = 0; i < n_pairs; ++i) {
        const std::int32_t id = args.choice.ids[i];
        scratch.row_of[i] = held(id) ? begin[id]++ : kNoRow;
        if (scratch.row_of[i] != kNoRow) scratch.token_of[scratch.row_of[i]] = i / args.n_expert_used;
    }
    for (std::uint32_t e = n_expert; e > 0; --e) begin[e] = begin[e - 1];
    begin[0] = 0;
    return n_active;
}

/// Rows of one expert: [first, first + n).
struct Group {
    ExpertSlot slot;
    std::uint32_t first;
    std::uint32_t n;
};

Group group_of(const Context& context, const ExpertFfnArgs& args, std::uint32_t active) {
    const std::uint32_t expert = context.scratch.active[active];
    const std::uint32_t first = context.scratch.expert_begin[expert];
    const std::uint32_t n = context.scratch.expert_begin[expert + 1] - first;
    if (args.set == ExpertSet::kHeld) return {(*args.experts)[{args.layer, expert}], first, n};
    const StagedExperts& staged = args.staged;
    const std::byte* slot = staged.slots + static_cast<std::size_t>(staged.slot_of[expert]) * staged.slot_bytes;
    return {{context.self, slot, slot + staged.up_offset, slot + staged.down_offset}, first, n};
}

/// Activations of the rows sorted by expert. They use the memory of the experts' results, which are written later: 40
/// bytes for 32 values, where the results take 128.
ActivationBlock* sorted_input(const Scratch& scratch) { return reinterpret_cast<ActivationBlock*>(scratch.expert_out); }

/// Whether sorted_input is used: kernels for many tokens need rows side by side, and gathering them for every chunk of
/// weight rows took a tenth of a prefill.
bool sorts_input(const Context& context) { return context.step.n_tokens >= kFewestUnpacked; }

void sort_input(const Context& context, std::uint32_t n_rows, std::uint32_t n_embd) {
    const Scratch& scratch = context.scratch;
    const std::size_t stride = activation_stride(n_embd);
    context.team.for_each(n_rows, [&](std::uint32_t row) {
        std::copy_n(scratch.input + scratch.token_of[row] * stride, n_embd / ActivationBlock::kSize,
                    sorted_input(scratch) + row * stride);
    });
}

/// hidden = silu(gate · x) ⊙ up · x for some weight rows of one expert, into scratch.gate.
void run_gate_up(const Context& context, const ExpertFfnArgs& args, const Group& group, std::uint32_t row,
                 std::uint32_t n_rows) {
    const Scratch& scratch = context.scratch;
    const std::uint32_t n_embd = args.x.n_cols;
    const auto multiply = [&](DType type, const std::byte* weights, float* out) {
        const std::size_t stride = row_bytes(type, n_embd);
        const MatmulKernel& kernel = context.kernels.matmul_for(type);
        const bool sorted = kernel.activations == ActivationForm::kQ8 && sorts_input(context);
        kernel.run({
            .weights = weights + row * stride,
            .row_bytes = stride,
            .n_rows = n_rows,
            .n_in = n_embd,
            .x = args.x.data,
            .xq = sorted ? sorted_input(scratch) + group.first * activation_stride(n_embd) : scratch.input,
            .x_rows = sorted ? nullptr : scratch.token_of + group.first,
            .n_tokens = group.n,
            .y = out + std::size_t{group.first} * args.n_ff + row,
            .y_stride = args.n_ff,
        });
    };
    multiply(args.gate_type, group.slot.gate, scratch.gate);
    multiply(args.up_type, group.slot.up, scratch.up);
    for (std::uint32_t i = 0; i < group.n; ++i) {
        const std::size_t at = std::size_t{group.first + i} * args.n_ff + row;
        context.kernels.swiglu(scratch.gate + at, scratch.up + at, scratch.gate + at, n_rows);
    }
}

void run_down(const Context& context, const ExpertFfnArgs& args, const Group& group, std::uint32_t row,
              std::uint32_t n_rows) {
    const Scratch& scratch = context.scratch;
    const std::size_t stride = row_bytes(args.down_type, args.n_ff);
    const std::uint32_t n_embd = args.x.n_cols;
    context.kernels.matmul_for(args.down_type)
        .run({
            .weights = group.slot.down + row * stride,
            .row_bytes = stride,
            .n_rows = n_rows,
            .n_in = args.n_ff,
            .x = scratch.gate + std::size_t{group.first} * args.n_ff,
            .xq = scratch.hidden + group.first * activation_stride(args.n_ff),
            .n_tokens = group.n,
            .y = scratch.expert_out + std::size_t{group.first} * n_embd + row,
            .y_stride = n_embd,
        });
}

/// out[t] = Σ_j weight_j · expert_out of (t, j), in order of choice.
void combine(const Context& context, const ExpertFfnArgs& args, std::uint32_t t) {
    const std::uint32_t n_embd = args.x.n_cols;
    float* out = args.out.data + std::size_t{t} * n_embd;
    std::fill_n(out, n_embd, 0.0f);
    for (std::uint32_t j = 0; j < args.n_expert_used; ++j) {
        const std::uint32_t row = context.scratch.row_of[t * args.n_expert_used + j];
        if (row == kNoRow) continue;
        const float weight = args.choice.weights[t * args.n_expert_used + j];
        const float* from = context.scratch.expert_out + std::size_t{row} * n_embd;
        for (std::uint32_t i = 0; i < n_embd; ++i) out[i] += weight * from[i];
    }
}

/// work(group, first row, rows) for every chunk of n_out weight rows of every active expert.
template <typename Work>
void for_expert_chunks(const Context& context, const ExpertFfnArgs& args, std::uint32_t n_active, std::uint32_t n_out,
                       std::size_t weight_row_bytes, Work&& work) {
    const std::uint32_t rows = rows_per_chunk(weight_row_bytes, context.step.n_tokens);
    const std::uint32_t n_chunks = (n_out + rows - 1) / rows;
    context.team.for_each(n_active * n_chunks, [&](std::uint32_t item) {
        const std::uint32_t row = item % n_chunks * rows;
        work(group_of(context, args, item / n_chunks), row, std::min(rows, n_out - row));
    });
}

}  // namespace

void run(const Context& context, const RouteArgs& args) {
    const std::uint32_t n_expert = args.router.n_out;
    run(context, MatmulArgs{.x = args.x,
                            .outputs = {MatmulOutput{args.router, {context.scratch.router_logits, n_expert}}},
                            .n_outputs = 1});
    const std::uint32_t k = args.n_expert_used;
    const std::uint32_t n_tokens = context.step.n_tokens;
    const std::int32_t* forced = context.step.forced_experts;
    if (forced != nullptr) forced += std::size_t{args.moe_layer} * n_tokens * k;
    const auto one = [&](std::uint32_t t) {
        route_token(args, context.scratch.router_logits + std::size_t{t} * n_expert,
                    forced != nullptr ? forced + std::size_t{t} * k : nullptr, args.out.ids + std::size_t{t} * k,
                    args.out.weights + std::size_t{t} * k);
    };
    if (n_tokens < 8)
        for (std::uint32_t t = 0; t < n_tokens; ++t) one(t);
    else
        context.team.for_each(n_tokens, one);
}

void run(const Context& context, const ExpertFfnArgs& args) {
    const Scratch& scratch = context.scratch;
    const Kernels& kernels = context.kernels;
    const std::uint32_t n_embd = args.x.n_cols;
    const std::uint32_t n_tokens = context.step.n_tokens;
    const std::uint32_t n_active = group_by_expert(context, args);
    const std::uint32_t n_rows = scratch.expert_begin[args.experts->n_expert()];

    if (kernels.matmul_for(args.gate_type).activations == ActivationForm::kQ8 ||
        kernels.matmul_for(args.up_type).activations == ActivationForm::kQ8) {
        quantise_rows(context, args.x.data, n_tokens, n_embd, scratch.input);
        if (sorts_input(context)) sort_input(context, n_rows, n_embd);
    }
    for_expert_chunks(
        context, args, n_active, args.n_ff, row_bytes(args.gate_type, n_embd),
        [&](const Group& group, std::uint32_t row, std::uint32_t n) { run_gate_up(context, args, group, row, n); });
    if (kernels.matmul_for(args.down_type).activations == ActivationForm::kQ8)
        quantise_rows(context, scratch.gate, n_rows, args.n_ff, scratch.hidden);
    for_expert_chunks(
        context, args, n_active, n_embd, row_bytes(args.down_type, args.n_ff),
        [&](const Group& group, std::uint32_t row, std::uint32_t n) { run_down(context, args, group, row, n); });
    if (n_tokens < 4)
        for (std::uint32_t t = 0; t < n_tokens; ++t) combine(context, args, t);
    else
        context.team.for_each(n_tokens, [&](std::uint32_t t) { combine(context, args, t); });
}

}  // namespace lfm::cpu
