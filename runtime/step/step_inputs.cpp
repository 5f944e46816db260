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

StepInputs::StepInputs(const HyperParameters& hyper, const SessionSizes& sizes, Ledger& ledger) : hyper_(hyper) {
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
    params_.sequences = sequences_;
    params_.token_ids = token_ids_;
    params_.output_rows = output_rows_;
    params_.rope = rope_;
}

void StepInputs::write(const StepSequence& sequence, std::span<const std::int32_t> tokens, Outputs outputs,
                       const ExpertSource& experts) {
    const std::uint32_t half = hyper_.head_dim / 2, n = sequence.n_rows;
    sequences_.front() = sequence;
    params_.n_tokens = n;
    params_.n_outputs = outputs == Outputs::kAll ? n : 1;
    std::iota(output_rows_, output_rows_ + params_.n_outputs, n - params_.n_outputs);
    std::ranges::copy(tokens, token_ids_);
    for (std::uint32_t t = 0; t < n; ++t)
        for (std::uint32_t i = 0; i < half; ++i) {
            const double angle = (sequence.position + t) * frequencies_[i];
            rope_[std::size_t{t} * hyper_.head_dim + i] = static_cast<float>(std::cos(angle));
            rope_[std::size_t{t} * hyper_.head_dim + half + i] = static_cast<float>(std::sin(angle));
        }
    params_.forced_experts = nullptr;
    if (experts) force(experts);
}

void StepInputs::force(const ExpertSource& experts) {
    std::int32_t* next = forced_;
    for (std::uint32_t layer = 0; layer < n_moe_layer(hyper_); ++layer)
        for (std::uint32_t t = 0; t < params_.n_tokens; ++t)
            for (std::uint32_t j = 0; j < hyper_.n_expert_used; ++j, ++next) {
                *next = experts(layer, params_.position() + t, j);
                if (*next < 0 || static_cast<std::uint32_t>(*next) >= hyper_.n_expert)
                    throw Error(
                        ErrorCode::kInvalidInput, "forced expert",
                        "expected 0 to " + std::to_string(hyper_.n_expert - 1) + ", found " + std::to_string(*next));
            }
    params_.forced_experts = forced_;
}

}  // namespace lfm
