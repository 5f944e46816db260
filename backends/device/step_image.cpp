#include "backends/device/step_image.h"

#include <cstring>
#include <string>

#include "memory/error.h"

namespace lfm {

void StepNeeds::include(const Operation& operation) {
    if (const auto* rope = std::get_if<QkNormRopeArgs>(&operation)) head_dim = std::max(head_dim, rope->head_dim);
    if (const auto* route = std::get_if<RouteArgs>(&operation)) {
        n_moe_layer = std::max(n_moe_layer, route->moe_layer + 1);
        n_expert_used = std::max(n_expert_used, route->n_expert_used);
    }
}

StepImage::StepImage(const BackendLimits& limits, const StepNeeds& needs, std::size_t gap)
    : limits_(limits), needs_(needs) {
    tokens_at_ = gap_at() + align(gap);
    outputs_at_ = tokens_at_ + align(std::size_t{limits.n_batch} * sizeof(std::int32_t));
    rope_at_ = outputs_at_ + align(std::size_t{limits.n_batch} * sizeof(std::uint32_t));
    forced_at_ = rope_at_ + align(std::size_t{limits.n_batch} * needs.head_dim * sizeof(float));
    size_ = forced_at_ +
            align(std::size_t{needs.n_moe_layer} * limits.n_batch * needs.n_expert_used * sizeof(std::int32_t));
}

std::size_t StepImage::forced_used(const StepHeader& header) const {
    if (header.has_forced == 0) return 0;
    return std::size_t{needs_.n_moe_layer} * header.n_tokens * needs_.n_expert_used * sizeof(std::int32_t);
}

StepHeader StepImage::fill(std::byte* to, std::uint64_t address, const StepParams& step) const {
    check_step(step, limits_, "step");
    check_plain_step(step, "step");
    const StepSequence sequence = step.only_sequence();
    const StepHeader header{.n_tokens = step.n_tokens,
                            .position = sequence.position,
                            .window = sequence.window,
                            .n_outputs = step.n_outputs,
                            .has_forced = step.forced_experts != nullptr ? 1u : 0u,
                            .token_ids = address + tokens_at_,
                            .output_rows = address + outputs_at_,
                            .rope = address + rope_at_,
                            .forced_experts = address + forced_at_};
    std::memcpy(to, &header, sizeof header);
    auto* const output_rows = reinterpret_cast<std::uint32_t*>(to + outputs_at_);
    for (std::uint32_t i = 0; i < step.n_outputs; ++i) output_rows[i] = step.output_row(i);
    if (step.token_ids != nullptr) std::memcpy(to + tokens_at_, step.token_ids, step.n_tokens * sizeof(std::int32_t));
    if (step.rope != nullptr)
        std::memcpy(to + rope_at_, step.rope, std::size_t{step.n_tokens} * needs_.head_dim * sizeof(float));
    if (step.forced_experts != nullptr) std::memcpy(to + forced_at_, step.forced_experts, forced_used(header));
    return header;
}

}  // namespace lfm
