// The router of one token: a product as in vector.h, of few long rows, and the choice from its logits by the last group
// to finish.
#pragma once

#include "backends/gpu/kernels/arrivals.h"
#include "backends/gpu/kernels/choose.h"
#include "backends/gpu/kernels/vector.h"

namespace lfm::gpu {

template <class Weight>
struct RouteShared {
    VectorShared<Weight> vector;
    ChoiceShared choice;
    std::uint32_t is_last;
};

/// For weights that are multiplied with f32 activations: F32, F16 and BF16.
template <class Weight>
__global__ void __launch_bounds__(kVectorThreads, kVectorGroups<Weight>) route_vector(RouteVectorPush push) {
    auto& shared = shared_memory<RouteShared<Weight>>();
    const Team team(push.sets_per_row);
    const std::uint32_t n_out = push.route.n_expert, rows_of_group = team.n_teams * kVectorRows;
    const auto row_at = [&push, n_out](std::uint32_t row) {
        return push.router + std::size_t{row < n_out ? row : n_out - 1} * push.row_bytes;
    };
    let_next_start();
    for (std::uint32_t i = 0; i < kVectorRows; ++i)
        prefetch_row(team, row_at(group_index().x * rows_of_group + team.index * kVectorRows + i), push.row_bytes);
    await_earlier();
    const VectorInput<Weight> x(shared.vector.input, {push.x, nullptr, nullptr, nullptr}, 0, 1, push.n_in);
    const bool wide = x.is_wide(push.router, push.row_bytes);
    for (std::uint32_t of_group = group_index().x * rows_of_group; of_group < n_out;
         of_group += n_groups().x * rows_of_group) {
        const std::uint32_t first = of_group + team.index * kVectorRows;
        const std::byte* rows[kVectorRows];
#pragma unroll
        for (std::uint32_t i = 0; i < kVectorRows; ++i) rows[i] = row_at(first + i);
        float sums[kVectorRows] = {};
        multiply_rows(x, team, rows, wide, sums);
        add_up(team, shared.vector.sums, sums);
#pragma unroll
        for (std::uint32_t i = 0; i < kVectorRows; ++i)
            if (team.leads() && first + i < n_out) push.logits[first + i] = sums[i];
    }
    if (arrives_last(push.ticket, n_groups().x, shared.is_last)) choose<kVectorThreads>(push.route, 0, shared.choice);
}

}  // namespace lfm::gpu
