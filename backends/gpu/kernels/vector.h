// Weights times one row of x. A group holds x quantised in its shared memory: it copies what the operation that made x
// left, or quantises x itself. Each of its teams, some sets of lanes, takes a few rows of weights at a time and spreads
// them over its lanes.
#pragma once

#include "backends/gpu/kernels/find_expert.h"
#include "backends/gpu/kernels/matmul.h"
#include "backends/gpu/kernels/row_set.h"
#include "backends/gpu/kernels/silu.h"
#include "backends/gpu/kernels/vector_input.h"
#include "backends/gpu/platform/kernel.h"
#include "backends/gpu/platform/lanes.h"

namespace lfm::gpu {

/// Prefetches a row of weights for a team, before x is read.
__device__ inline void prefetch_row(const Team& team, const std::byte* row, std::uint32_t row_bytes) {
    constexpr std::uint32_t kLine = 128;
    for (std::uint32_t at = kLine * team.first; at < row_bytes; at += kLine * team.step) prefetch(row + at);
}

template <class Weight>
struct VectorShared {
    typename VectorInput<Weight>::Shared input;
    TeamSums sums;
};

/// Row `row` of all outputs, which have n_out rows one after another; the last one for rows beyond.
struct VectorRow {
    const std::byte* weight;
    std::uint32_t bytes;
    float* out;
};
__device__ inline VectorRow vector_row(const VectorPush& push, std::uint32_t row, std::uint32_t n_out,
                                       std::uint32_t x_row) {
    row = row < n_out ? row : n_out - 1;
    const std::uint32_t first = push.outputs[0].n_out, second = push.outputs[1].n_out;
    const VectorPush::Output output = row < first            ? push.outputs[0]
                                      : row < first + second ? push.outputs[1]
                                                             : push.outputs[2];
    row -= row < first ? 0 : row < first + second ? first : first + second;
    return {output.weight + std::size_t{row} * output.row_bytes, output.row_bytes,
            output.out + std::size_t{x_row} * output.n_out + row};
}

template <class Weight>
__global__ void __launch_bounds__(kVectorThreads, kVectorGroups<Weight>) vector(VectorPush push) {
    VectorShared<Weight>& shared = shared_memory<VectorShared<Weight>>();
    const std::uint32_t x_row = group_index().y;
    const Team team(push.sets_per_row);
    const std::uint32_t n_out = push.outputs[0].n_out + push.outputs[1].n_out + push.outputs[2].n_out;
    const std::uint32_t rows_of_group = team.n_teams * kVectorRows;
    std::uint32_t of_group = group_index().x * rows_of_group;
    let_next_start();
    for (std::uint32_t i = 0; i < kVectorRows; ++i) {
        const VectorRow row = vector_row(push, of_group + team.index * kVectorRows + i, n_out, x_row);
        prefetch_row(team, row.weight, row.bytes);
    }
    await_earlier();
    if (of_group >= n_out) return;
    if (push.most_rows > 0) {
        const std::uint32_t n_x_rows = n_rows(*push.step, push.row_set);
        if (n_x_rows > push.most_rows || x_row >= n_x_rows) return;
    }
    const VectorInput<Weight> x(shared.input, push.input, x_row, 1, push.n_in);
    bool wide = true;
#pragma unroll
    for (std::uint32_t i = 0; i < 3; ++i)
        if (push.outputs[i].n_out > 0) wide = wide && x.is_wide(push.outputs[i].weight, push.outputs[i].row_bytes);
    sync_group();
    for (; of_group < n_out; of_group += n_groups().x * rows_of_group) {
        const std::uint32_t first = of_group + team.index * kVectorRows;
        const std::byte* rows[kVectorRows];
#pragma unroll
        for (std::uint32_t i = 0; i < kVectorRows; ++i) rows[i] = vector_row(push, first + i, n_out, x_row).weight;
        float sums[kVectorRows] = {};
        multiply_rows(x, team, rows, wide, sums);
        add_up(team, shared.sums, sums);
#pragma unroll
        for (std::uint32_t i = 0; i < kVectorRows; ++i)
            if (team.leads() && first + i < n_out) *vector_row(push, first + i, n_out, x_row).out = sums[i];
    }
}

/// Quantises the blocks of 32 hidden values that this group's rows completed: runs of `n_run` rows, a divisor of 32,
/// from `first` on. Other groups may have made the rest of a block: the last one to arrive quantises it. Eight lanes
/// take a run.
__device__ inline void quantise_whole_blocks(const GateUpPush& push, std::uint32_t j, std::uint32_t first,
                                             std::uint32_t n_run) {
    fence_device();
    sync_group();
    const std::uint32_t n_blocks = push.n_ff / 32, of_block = thread_index() % 8, apart = n_groups().x * n_run;
    const float* hidden = push.hidden + std::size_t{j} * push.n_ff;
    for (; first < push.n_ff; first += kVectorThreads / 8 * apart) {
        const std::uint32_t row = first + thread_index() / 8 * apart, block = row / 32;
        std::uint32_t is_last = 0;
        if (of_block == 0 && row < push.n_ff) {
            std::uint32_t* ticket = push.tickets + j * n_blocks + block;
            if (arrive(ticket, n_run) + n_run == 32) {
                is_last = 1;
                *ticket = 0;
            }
        }
        is_last = lane_value(is_last, lane() / 8 * 8);
        if (is_last != 0) fence_device();
        float four[4];
        load_four(hidden, 32 * block + 4 * of_block, is_last != 0, four);
        store_block(quantise_four(four), j * n_blocks + block, of_block, is_last != 0,
                    reinterpret_cast<Words4*>(push.to.q), push.to.scales, push.to.sums);
    }
}

template <class Weight>
__global__ void __launch_bounds__(kVectorThreads, kVectorGroups<Weight>) gate_up(GateUpPush push) {
    static_assert(kVectorRows == 2);  // one of each matrix
    VectorShared<Weight>& shared = shared_memory<VectorShared<Weight>>();
    const std::uint32_t j = group_index().y;
    const Team team(push.sets_per_row);
    const std::uint32_t first = group_index().x * team.n_teams;
    const auto row_of = [&push](const std::byte* matrix, std::uint32_t row) {
        return matrix + std::size_t{row < push.n_ff ? row : push.n_ff - 1} * push.row_bytes;
    };
    const auto prefetch_rows = [&](const ExpertEntry& expert) {
        prefetch_row(team, row_of(expert.gate, first + team.index), push.row_bytes);
        prefetch_row(team, row_of(expert.up, first + team.index), push.row_bytes);
    };
    const bool is_chosen = push.source.table != nullptr;
    ExpertEntry expert{push.gate, push.up, nullptr, 1};
    let_next_start();
    if (!is_chosen) prefetch_rows(expert);
    await_earlier();
    if (is_chosen) expert = find_expert(push.source, static_cast<std::uint32_t>(push.ids[j]));
    std::uint32_t of_group = first;
    if (expert.held == 0 || of_group >= push.n_ff) return;
    if (is_chosen) prefetch_rows(expert);
    const VectorInput<Weight> x(shared.input, push.input, 0, 1, push.n_in);
    const bool wide = x.is_wide(expert.gate, push.row_bytes) && x.is_wide(expert.up, push.row_bytes);
    sync_group();
    for (; of_group < push.n_ff; of_group += n_groups().x * team.n_teams) {
        const std::uint32_t row = of_group + team.index;
        const std::byte* const rows[2] = {row_of(expert.gate, row), row_of(expert.up, row)};
        float sums[2] = {};
        multiply_rows(x, team, rows, wide, sums);
        add_up(team, shared.sums, sums);
        if (team.leads() && row < push.n_ff) {
            push.hidden[std::size_t{j} * push.n_ff + row] = silu(sums[0]) * sums[1];
            if (push.up_out != nullptr) push.up_out[row] = sums[1];
        }
    }
    if (push.to.q != nullptr) quantise_whole_blocks(push, j, first, team.n_teams);
}

template <class Weight>
struct DownShared {
    VectorShared<Weight> vector;
    // Choices whose experts belong to the set.
    const std::byte* down[kMostVectorChoices];
    std::uint32_t choice[kMostVectorChoices];
    float weights[kMostVectorChoices];
    std::uint32_t n;
};

/// Lists the choices whose experts belong to the set, in their order. A lane looks up each choice; all sets of lanes do
/// the same, and the first one writes.
template <class Weight>
__device__ inline void gather_choices(const DownPush& push, DownShared<Weight>& shared) {
    static_assert(kMostVectorChoices <= kLanes);
    ExpertEntry expert{nullptr, nullptr, nullptr, 0};
    float weight = 0;
    if (lane() < push.n_used) {
        weight = push.weights[lane()];
        expert = find_expert(push.source, static_cast<std::uint32_t>(push.ids[lane()]));
    }
    const std::uint32_t is_held = expert.held != 0 ? 1 : 0;
    std::uint32_t n = 0, n_before = 0;
    for (std::uint32_t j = 0; j < push.n_used; ++j) {
        if (j == lane()) n_before = n;
        n += lane_value(is_held, j);
    }
    if (lane_set() != 0) return;
    if (is_held != 0) {
        shared.down[n_before] = expert.down;
        shared.choice[n_before] = lane();
        shared.weights[n_before] = weight;
    }
    if (lane() == 0) shared.n = n;
}

/// Adds this lane's part of the products of the rows at these offsets in each choice's matrix, times the choice's
/// weight.
template <Reading kReading, class Weight>
__device__ inline void multiply_choices(const VectorInput<Weight>& x, const DownShared<Weight>& shared,
                                        const Team& team, const std::size_t (&offsets)[kVectorRows],
                                        float (&sums)[kVectorRows]) {
    const std::uint32_t n_items = shared.n * x.n_items;
    for (std::uint32_t at = team.first; at < n_items; at += kPlaces<Weight> * team.step) {
        Place<kVectorRows> places[kPlaces<Weight>];
#pragma unroll
        for (std::uint32_t k = 0; k < kPlaces<Weight>; ++k) {
            places[k].counts = at + k * team.step < n_items;
            const std::uint32_t of_all = places[k].counts ? at + k * team.step : at;
            const std::uint32_t j = of_all / x.n_items;
            places[k].item = of_all - j * x.n_items;
            places[k].x_row = shared.choice[j];
            places[k].factor = shared.weights[j];
#pragma unroll
            for (std::uint32_t i = 0; i < kVectorRows; ++i) places[k].rows[i] = shared.down[j] + offsets[i];
        }
        x.template multiply<kReading>(places, sums);
    }
}

template <class Weight>
__global__ void __launch_bounds__(kVectorThreads, kVectorGroups<Weight>) down(DownPush push) {
    begin_kernel();
    DownShared<Weight>& shared = shared_memory<DownShared<Weight>>();
    const Team team(push.sets_per_row);
    const std::uint32_t rows_of_group = team.n_teams * kVectorRows;
    gather_choices(push, shared);
    const auto offset_of = [&push](std::uint32_t row) {
        return std::size_t{row < push.n_out ? row : push.n_out - 1} * push.row_bytes;
    };
    sync_group();
    for (std::uint32_t j = 0; j < shared.n; ++j)
        for (std::uint32_t i = 0; i < kVectorRows; ++i)
            prefetch_row(team,
                         shared.down[j] + offset_of(group_index().x * rows_of_group + team.index * kVectorRows + i),
                         push.row_bytes);
    // Hidden values of choices outside the set are undefined, and are not used.
    const VectorInput<Weight> x(shared.vector.input, push.hidden, 0, push.n_used, push.n_ff);
    sync_group();
    bool wide = true;
    for (std::uint32_t j = 0; j < shared.n; ++j) wide = wide && x.is_wide(shared.down[j], push.row_bytes);
    for (std::uint32_t of_group = group_index().x * rows_of_group; of_group < push.n_out;
         of_group += n_groups().x * rows_of_group) {
        const std::uint32_t first = of_group + team.index * kVectorRows;
        std::size_t offsets[kVectorRows];
#pragma unroll
        for (std::uint32_t i = 0; i < kVectorRows; ++i) offsets[i] = offset_of(first + i);
        float sums[kVectorRows] = {};
        if (Weight::kIsFloat && !wide)
            multiply_choices<Reading::kNarrow>(x, shared, team, offsets, sums);
        else
            multiply_choices<Reading::kWide>(x, shared, team, offsets, sums);
        add_up(team, shared.vector.sums, sums);
#pragma unroll
        for (std::uint32_t i = 0; i < kVectorRows; ++i)
            if (team.leads() && first + i < push.n_out) push.out[first + i] = sums[i];
    }
}

}  // namespace lfm::gpu
