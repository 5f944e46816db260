// The product before a short convolution, of one token, and the convolution of each 32 channels by the group that
// completes their rows.
#pragma once

#include "backends/gpu/kernels/arrivals.h"
#include "backends/gpu/kernels/convolve.h"
#include "backends/gpu/kernels/vector.h"

namespace lfm::gpu {

/// Runs of `n_run` rows from `first` on are this group's; B, C and X of 32 channels are 96 rows. A set of lanes takes a
/// run, and where that completes its channels, convolves them.
__device__ inline void convolve_whole_blocks(const VectorConvPush& push, const RingView& ring, std::uint32_t first,
                                             std::uint32_t n_run) {
    fence_device();
    sync_group();
    const std::uint32_t n = push.n_embd, apart = n_groups().x * n_run;
    const ConvolvedRow row{push.bcx, push.taps, ring};
    for (; first < 3 * n; first += kVectorSets * apart) {
        const std::uint32_t of_set = first + lane_set() * apart, block = of_set % n / 32, channel = 32 * block + lane();
        std::uint32_t is_last = 0;
        if (lane() == 0 && of_set < 3 * n) {
            if (arrive(push.tickets + block, n_run) + n_run == 96) {
                is_last = 1;
                push.tickets[block] = 0;
            }
        }
        is_last = lane_value(is_last, 0);
        if (is_last != 0) fence_device();
        const float value = is_last != 0 ? convolve(row, channel) : 0.0f;
        if (is_last != 0) push.out[channel] = value;
        if (push.to.q != nullptr) store_quantised(value, block, is_last != 0, push.to.q, push.to.scales, push.to.sums);
    }
}

/// For weights that are multiplied with quantised activations.
template <class Weight>
__global__ void __launch_bounds__(kVectorThreads, kVectorGroups<Weight>) vector_conv(VectorConvPush push) {
    VectorShared<Weight>& shared = shared_memory<VectorShared<Weight>>();
    const Team team(push.sets_per_row);
    const std::uint32_t n_out = 3 * push.n_embd, rows_of_group = team.n_teams * kVectorRows;
    static_assert(32 % (kVectorSets * kVectorRows) == 0);  // a run lies within 32 channels of one kind
    const std::uint32_t first_of_all = group_index().x * rows_of_group;
    const auto row_at = [&push, n_out](std::uint32_t row) {
        return push.weight + std::size_t{row < n_out ? row : n_out - 1} * push.row_bytes;
    };
    let_next_start();
    for (std::uint32_t i = 0; i < kVectorRows; ++i)
        prefetch_row(team, row_at(first_of_all + team.index * kVectorRows + i), push.row_bytes);
    await_earlier();
    if (first_of_all >= n_out) return;
    // The window's place is loaded while the weights are.
    const RingView ring = ring_view(push.ring, push.n_slots, push.n_embd, push.l_cache, sequence_at(*push.step, 0));
    const VectorInput<Weight> x(shared.input, push.input, 0, 1, push.n_in);
    sync_group();
    for (std::uint32_t of_group = first_of_all; of_group < n_out; of_group += n_groups().x * rows_of_group) {
        const std::uint32_t first = of_group + team.index * kVectorRows;
        const std::byte* rows[kVectorRows];
#pragma unroll
        for (std::uint32_t i = 0; i < kVectorRows; ++i) rows[i] = row_at(first + i);
        float sums[kVectorRows] = {};
        multiply_rows(x, team, rows, true, sums);
        add_up(team, shared.sums, sums);
#pragma unroll
        for (std::uint32_t i = 0; i < kVectorRows; ++i)
            if (team.leads() && first + i < n_out) push.bcx[first + i] = sums[i];
    }
    convolve_whole_blocks(push, ring, first_of_all, rows_of_group);
}

}  // namespace lfm::gpu
