#include "runtime/step/step_inputs.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "memory/error.h"

namespace lfm {
namespace {

std::size_t n_moe_layer(const HyperParameters& hyper) { return hyper.n_layer - hyper.n_layer_dense; }

}  // namespace

StepInputs::StepInputs(const HyperParameters& hyper, const SessionSizes& sizes, Ledger& ledger)
    : hyper_(hyper), sizes_(sizes) {
    const std::size_t n = sizes.n_batch;
    const auto carve = [&](Carver carver) {
        token_ids_ = carver.take<std::int32_t>(n);
        output_rows_ = carver.take<std::uint32_t>(sizes.n_outputs);
        rope_ = carver.take<float>(n * hyper.head_dim);
        forced_ = carver.take<std::int32_t>(n_moe_layer(hyper) * n * hyper.n_expert_used);
        return carver.used();
    };
    buffer_ = HostBuffer(ledger, Purpose::kActivations, carve(Carver()));
    carve(Carver(buffer_.bytes()));
    for (std::uint32_t i = 0; i < hyper.head_dim / 2; ++i)
        frequencies_.push_back(std::pow(double{hyper.rope_freq_base}, -2.0 * i / hyper.head_dim));
    sequences_.reserve(sizes.n_sequences);
    page_copies_.reserve(sizes.n_sequences);
    params_.token_ids = token_ids_;
    params_.output_rows = output_rows_;
    params_.rope = rope_;
}

void StepInputs::write(std::span<const StepPart> parts, const ExpertSource& experts) {
    sequences_.clear();
    page_copies_.clear();
    params_.n_tokens = params_.n_outputs = 0;
    if (parts.size() > sizes_.n_sequences)
        throw Error(ErrorCode::kUsage, "step",
                    "expected at most " + std::to_string(sizes_.n_sequences) + " sequences, found " +
                        std::to_string(parts.size()));
    for (const StepPart& part : parts) add(part);
    if (params_.n_outputs == 0 && params_.n_tokens > 0) {  // kernels of the output head want a row
        output_rows_[0] = params_.n_tokens - 1;
        params_.n_outputs = 1;
    }
    params_.sequences = sequences_;
    params_.page_copies = page_copies_;
    params_.forced_experts = nullptr;
    if (experts) force(parts, experts);
}

void StepInputs::add(const StepPart& part) {
    const std::uint32_t half = hyper_.head_dim / 2, first = params_.n_tokens;
    const auto n = static_cast<std::uint32_t>(part.tokens.size());
    const std::uint32_t n_outputs = part.outputs == Outputs::kAll ? n : part.outputs == Outputs::kLast ? 1 : 0;
    if (n > sizes_.n_batch - first || n_outputs > sizes_.n_outputs - params_.n_outputs)
        throw Error(ErrorCode::kUsage, "step",
                    "expected at most " + std::to_string(sizes_.n_batch) + " rows and " +
                        std::to_string(sizes_.n_outputs) + " outputs, found more");
    StepSequence sequence = part.sequence->next(first, n);
    sequence.save_to = part.save_to;
    sequences_.push_back(sequence);
    if (part.sequence->page_copy()) page_copies_.push_back(*part.sequence->page_copy());
    std::iota(output_rows_ + params_.n_outputs, output_rows_ + params_.n_outputs + n_outputs, first + n - n_outputs);
    std::ranges::copy(part.tokens, token_ids_ + first);
    for (std::uint32_t t = 0; t < n; ++t) {
        float* const rope = rope_ + std::size_t{first + t} * hyper_.head_dim;
        for (std::uint32_t i = 0; i < half; ++i) {
            const double angle = (sequence.position + t) * frequencies_[i];
            rope[i] = static_cast<float>(std::cos(angle));
            rope[half + i] = static_cast<float>(std::sin(angle));
        }
    }
    params_.n_tokens += n;
    params_.n_outputs += n_outputs;
}

void StepInputs::force(std::span<const StepPart> parts, const ExpertSource& experts) {
    std::int32_t* next = forced_;
    for (std::uint32_t layer = 0; layer < n_moe_layer(hyper_); ++layer)
        for (std::size_t i = 0; i < parts.size(); ++i)
            for (std::uint32_t t = 0; t < sequences_[i].n_rows; ++t)
                for (std::uint32_t j = 0; j < hyper_.n_expert_used; ++j, ++next) {
                    *next = experts(layer, sequences_[i].position + t + parts[i].experts_shift, j);
                    if (*next < 0 || static_cast<std::uint32_t>(*next) >= hyper_.n_expert)
                        throw Error(ErrorCode::kInvalidInput, "forced expert",
                                    "expected 0 to " + std::to_string(hyper_.n_expert - 1) + ", found " +
                                        std::to_string(*next));
                }
    params_.forced_experts = forced_;
}

}  // namespace lfm
