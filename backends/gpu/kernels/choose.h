// The choice of experts from a router's logits, by one group.
#pragma once

#include <cmath>

#include "backends/gpu/kernels/route.h"
#include "backends/gpu/platform/arithmetic.h"
#include "backends/gpu/platform/kernel.h"

namespace lfm::gpu {

struct ChoiceShared {
    float p[kMostExperts];
    float score[kMostExperts];
    std::uint32_t chosen[kMostChosen];
    std::uint32_t unordered;  // how many scores are NaN
};

/// Chooses one expert after another, which defines the choice where scores are NaN: a NaN is never larger than another
/// score, and none is larger than it.
__device__ inline void choose_serially(ChoiceShared& shared, std::uint32_t n_expert, std::uint32_t n_used) {
    for (std::uint32_t j = 0; j < n_used; ++j) {
        std::uint32_t best = n_expert;
        for (std::uint32_t e = 0; e < n_expert; ++e) {
            bool taken = false;
            for (std::uint32_t i = 0; i < j; ++i) taken = taken || shared.chosen[i] == e;
            if (!taken && (best == n_expert || shared.score[e] > shared.score[best])) best = e;
        }
        shared.chosen[j] = best;
    }
}

/// How many experts are chosen before e, if no score is NaN.
__device__ inline std::uint32_t rank_of(const ChoiceShared& shared, std::uint32_t n_expert, std::uint32_t e) {
    const float mine = shared.score[e];
    std::uint32_t rank = 0;
    for (std::uint32_t i = 0; i < n_expert; ++i) {
        const float other = shared.score[i];
        if (other > mine || (other == mine && i < e)) ++rank;
    }
    return rank;
}

/// p = sigmoid(logit); the largest of p + bias, ties and NaN to the lower index, or the experts that the step forces;
/// weights p / (their sum + 1e-6) · scale. The whole group of kThreads calls it.
template <std::uint32_t kThreads>
__device__ inline void choose(const RoutePush& push, std::uint32_t token, ChoiceShared& shared) {
    const std::uint32_t n_expert = push.n_expert, n_used = push.n_expert_used;
    const std::uint32_t n_tokens = push.step->n_tokens, has_forced = push.step->has_forced;
    if (thread_index() == 0) shared.unordered = 0;
    sync_group();
    for (std::uint32_t e = thread_index(); e < n_expert; e += kThreads) {
        const float p = 1.0f / (1.0f + expf(-push.logits[std::size_t{token} * n_expert + e]));
        const float score = push.bias != nullptr ? p + push.bias[e] : p;
        shared.p[e] = p;
        shared.score[e] = score;
        if (score != score) add_atomically(&shared.unordered, 1);
    }
    sync_group();
    if (has_forced != 0) {
        const std::int32_t* forced =
            push.step->forced_experts + (std::size_t{push.moe_layer} * n_tokens + token) * n_used;
        for (std::uint32_t j = thread_index(); j < n_used; j += kThreads) {
            const auto e = static_cast<std::uint32_t>(forced[j]);
            shared.chosen[j] = e < n_expert ? e : n_expert - 1;
        }
    } else if (shared.unordered != 0) {
        if (thread_index() == 0) choose_serially(shared, n_expert, n_used);
    } else {
        for (std::uint32_t e = thread_index(); e < n_expert; e += kThreads) {
            const std::uint32_t rank = rank_of(shared, n_expert, e);
            if (rank < n_used) shared.chosen[rank] = e;
        }
    }
    sync_group();
    float sum = 0;
    for (std::uint32_t j = 0; j < n_used; ++j) sum += shared.p[shared.chosen[j]];
    for (std::uint32_t j = thread_index(); j < n_used; j += kThreads) {
        const std::uint32_t e = shared.chosen[j];
        const std::size_t at = std::size_t{token} * n_used + j;
        const float weight = shared.p[e] * (push.scale / (sum + 1e-6f));
        push.ids[at] = static_cast<std::int32_t>(e);
        push.weights[at] = weight;
        if (push.ids_too != nullptr) push.ids_too[at] = static_cast<std::int32_t>(e);
        if (push.weights_too != nullptr) push.weights_too[at] = weight;
    }
}

}  // namespace lfm::gpu
