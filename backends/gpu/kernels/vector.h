// Weights times one row of x. A group quantises x into its shared memory; each of its teams, some sets of lanes, takes
// a few rows of weights at a time and spreads them over its lanes.
#pragma once

#include "backends/gpu/kernels/find_expert.h"
#include "backends/gpu/kernels/matmul.h"
#include "backends/gpu/kernels/multiply_item.h"
#include "backends/gpu/kernels/row_set.h"
#include "backends/gpu/kernels/silu.h"
#include "backends/gpu/platform/kernel.h"
#include "backends/gpu/platform/lanes.h"

namespace lfm::gpu {

struct TeamSums {
    float of_set[kVectorSets][kVectorRows];
};

/// Sets of lanes that share rows.
struct Team {
    __device__ explicit Team(std::uint32_t sets)
        : n_sets(sets),
          n_teams(kVectorSets / sets),
          index(lane_set() / sets),
          first(lane_set() % sets * kLanes + lane()),
          step(sets * kLanes) {}

    /// Whether this thread is the team's first.
    __device__ bool leads() const { return first == 0; }

    std::uint32_t n_sets, n_teams, index;
    std::uint32_t first, step;  // of the items that are this lane's
};

/// Leaves the sums over the team's lanes, for each of them. The whole group calls it.
template <std::uint32_t n>
__device__ inline void add_up(const Team& team, TeamSums& shared, float (&sums)[n]) {
#pragma unroll
    for (std::uint32_t i = 0; i < n; ++i) sums[i] = sum_of_lanes(sums[i]);
    if (team.n_sets == 1) return;
    if (lane() == 0) {
#pragma unroll
        for (std::uint32_t i = 0; i < n; ++i) shared.of_set[lane_set()][i] = sums[i];
    }
    sync_group();
#pragma unroll
    for (std::uint32_t i = 0; i < n; ++i) {
        sums[i] = 0;
        for (std::uint32_t j = 0; j < team.n_sets; ++j) sums[i] += shared.of_set[team.index * team.n_sets + j][i];
    }
    sync_group();
}

/// Rows of x side by side, in the form that weights of a type meet.
template <class Weight, bool kIsFloat = Weight::kIsFloat>
struct VectorInput;

template <class Weight>
struct VectorInput<Weight, false> {
    struct Shared {
        Words4 q[kMostVectorInputs / 16];
        float scales[kMostVectorInputs / 32];
        std::uint32_t sums[kMostVectorInputs / 32];
    };

    /// Of n_rows · n values. The whole group calls it; sync_group() comes before the first product.
    __device__ VectorInput(Shared& to, const float* x, std::uint32_t n_rows, std::uint32_t n)
        : shared(to), n_items(n / kItem) {
        const std::uint32_t end = n_rows * n;
        for (std::uint32_t first = 0; first < end; first += 4 * kVectorThreads) {
            const std::uint32_t column = first + 4 * thread_index();
            float four[4];
#pragma unroll
            for (std::uint32_t i = 0; i < 4; ++i) four[i] = column < end ? x[column + i] : 0;
            store_block(quantise_four(four), column / 32, column / 4 % 8, column < end, to.q, to.scales, to.sums);
        }
    }

    __device__ static bool is_wide(const std::byte*, std::uint32_t) { return false; }

    /// Adds factor · item · x's row `of_row` to each sum, an item of each weight row.
    template <std::uint32_t n>
    __device__ void multiply_rows(const std::byte* const (&rows)[n], std::uint32_t item, std::uint32_t of_row,
                                  float factor, bool, float (&sums)[n]) const {
        Item w[n];
#pragma unroll
        for (std::uint32_t i = 0; i < n; ++i) w[i] = Weight::load(rows[i], item);
        const InputItem x = load_input<Weight>(shared.q, shared.scales, shared.sums, of_row * n_items + item);
#pragma unroll
        for (std::uint32_t i = 0; i < n; ++i) sums[i] += factor * multiply<Weight>(w[i], x);
    }

    const Shared& shared;
    std::uint32_t n_items;  // of a row
};

template <class Weight>
struct VectorInput<Weight, true> {
    struct Shared {};

    __device__ VectorInput(Shared&, const float* from, std::uint32_t, std::uint32_t n)
        : x(from), n_in(n), n_items((n + kFloatItem - 1) / kFloatItem) {}

    /// Whether items of rows there and of x lie at multiples of 16 bytes and are whole.
    __device__ bool is_wide(const std::byte* weight, std::uint32_t row_bytes) const {
        return rows_are_wide<Weight>(weight, row_bytes, n_in) && (reinterpret_cast<std::uintptr_t>(x) & 15) == 0;
    }

    template <std::uint32_t n>
    __device__ void multiply_rows(const std::byte* const (&rows)[n], std::uint32_t item, std::uint32_t of_row,
                                  float factor, bool wide, float (&sums)[n]) const {
        const std::uint32_t first = kFloatItem * item;
        const float* from = x + of_row * n_in + first;
        if (wide) {
            float w[n][kFloatItem];
#pragma unroll
            for (std::uint32_t i = 0; i < n; ++i) Weight::load_eight(rows[i] + first * Weight::kBytes, w[i]);
            const Words4 low = load<Words4>(reinterpret_cast<const std::byte*>(from));
            const Words4 high = load<Words4>(reinterpret_cast<const std::byte*>(from + 4));
#pragma unroll
            for (std::uint32_t i = 0; i < n; ++i) {
                float sum = 0;
#pragma unroll
                for (std::uint32_t j = 0; j < 4; ++j) {
                    sum += w[i][j] * float_of_bits(low.at[j]);
                    sum += w[i][4 + j] * float_of_bits(high.at[j]);
                }
                sums[i] += factor * sum;
            }
            return;
        }
        for (std::uint32_t j = 0; j < kFloatItem && first + j < n_in; ++j) {
#pragma unroll
            for (std::uint32_t i = 0; i < n; ++i)
                sums[i] += factor * from[j] * Weight::load_one(rows[i] + (first + j) * Weight::kBytes);
        }
    }

    const float* x;
    std::uint32_t n_in, n_items;
};

/// Brings the first rows of weights nearer while x is quantised.
__device__ inline void prefetch_row(const std::byte* row, std::uint32_t row_bytes) {
    constexpr std::uint32_t kLine = 128;
    for (std::uint32_t at = kLine * lane(); at < row_bytes; at += kLine * kLanes) prefetch(row + at);
}

template <class Weight>
struct VectorShared {
    typename VectorInput<Weight>::Shared input;
    TeamSums sums;
};

/// Row `row` of the outputs, one after another, which are n_out together; the last for those beyond.
struct VectorRow {
    const std::byte* weight;
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
    return {output.weight + std::size_t{row} * output.row_bytes, output.out + std::size_t{x_row} * output.n_out + row};
}

template <class Weight>
__global__ void __launch_bounds__(kVectorThreads) vector(VectorPush push) {
    VectorShared<Weight>& shared = shared_memory<VectorShared<Weight>>();
    const std::uint32_t x_row = group_index().y, n_x_rows = n_rows(*push.step, push.row_set);
    if (n_x_rows > push.most_rows || x_row >= n_x_rows) return;
    const Team team(push.sets_per_row);
    const std::uint32_t n_out = push.outputs[0].n_out + push.outputs[1].n_out + push.outputs[2].n_out;
    const std::uint32_t rows_of_group = team.n_teams * kVectorRows;
    std::uint32_t of_group = group_index().x * rows_of_group;
    if (of_group >= n_out) return;
    for (std::uint32_t i = 0; i < kVectorRows; ++i)
        prefetch_row(vector_row(push, of_group + team.index * kVectorRows + i, n_out, x_row).weight,
                     push.outputs[0].row_bytes);
    const VectorInput<Weight> x(shared.input, push.x + std::size_t{x_row} * push.n_in, 1, push.n_in);
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
#pragma unroll 2
        for (std::uint32_t item = team.first; item < x.n_items; item += team.step)
            x.multiply_rows(rows, item, 0, 1, wide, sums);
        add_up(team, shared.sums, sums);
#pragma unroll
        for (std::uint32_t i = 0; i < kVectorRows; ++i)
            if (team.leads() && first + i < n_out) *vector_row(push, first + i, n_out, x_row).out = sums[i];
    }
}

template <class Weight>
__global__ void __launch_bounds__(kVectorThreads) gate_up(GateUpPush push) {
    static_assert(kVectorRows == 2);  // one of each matrix
    VectorShared<Weight>& shared = shared_memory<VectorShared<Weight>>();
    const std::uint32_t j = group_index().y;
    const ExpertEntry expert = find_expert(push.source, static_cast<std::uint32_t>(push.ids[j]));
    if (expert.held == 0) return;
    const Team team(push.sets_per_row);
    std::uint32_t of_group = group_index().x * team.n_teams;
    if (of_group >= push.n_ff) return;
    const auto row_of = [&push](const std::byte* matrix, std::uint32_t row) {
        return matrix + std::size_t{row < push.n_ff ? row : push.n_ff - 1} * push.row_bytes;
    };
    prefetch_row(row_of(expert.gate, of_group + team.index), push.row_bytes);
    prefetch_row(row_of(expert.up, of_group + team.index), push.row_bytes);
    const VectorInput<Weight> x(shared.input, push.x, 1, push.n_in);
    const bool wide = x.is_wide(expert.gate, push.row_bytes) && x.is_wide(expert.up, push.row_bytes);
    sync_group();
    for (; of_group < push.n_ff; of_group += n_groups().x * team.n_teams) {
        const std::uint32_t row = of_group + team.index;
        const std::byte* const rows[2] = {row_of(expert.gate, row), row_of(expert.up, row)};
        float sums[2] = {};
#pragma unroll 2
        for (std::uint32_t item = team.first; item < x.n_items; item += team.step)
            x.multiply_rows(rows, item, 0, 1, wide, sums);
        add_up(team, shared.sums, sums);
        if (team.leads() && row < push.n_ff) push.hidden[std::size_t{j} * push.n_ff + row] = silu(sums[0]) * sums[1];
    }
}

template <class Weight>
struct DownShared {
    VectorShared<Weight> vector;
    const std::byte* down[kMostVectorChoices];  // null: not of the set
    float weights[kMostVectorChoices];
};

template <class Weight>
__global__ void __launch_bounds__(kVectorThreads) down(DownPush push) {
    DownShared<Weight>& shared = shared_memory<DownShared<Weight>>();
    const Team team(push.sets_per_row);
    const std::uint32_t rows_of_group = team.n_teams * kVectorRows;
    if (const std::uint32_t j = thread_index(); j < push.n_used) {
        const ExpertEntry expert = find_expert(push.source, static_cast<std::uint32_t>(push.ids[j]));
        shared.down[j] = expert.held != 0 ? expert.down : nullptr;
        shared.weights[j] = push.weights[j];
    }
    // Those of choices outside the set are whatever they are, and are not used.
    const VectorInput<Weight> x(shared.vector.input, push.hidden, push.n_used, push.n_ff);
    sync_group();
    bool wide = true;
    for (std::uint32_t j = 0; j < push.n_used; ++j)
        if (shared.down[j] != nullptr) wide = wide && x.is_wide(shared.down[j], push.row_bytes);
    for (std::uint32_t of_group = group_index().x * rows_of_group; of_group < push.n_out;
         of_group += n_groups().x * rows_of_group) {
        const std::uint32_t first = of_group + team.index * kVectorRows;
        std::size_t offsets[kVectorRows];
#pragma unroll
        for (std::uint32_t i = 0; i < kVectorRows; ++i)
            offsets[i] = std::size_t{first + i < push.n_out ? first + i : push.n_out - 1} * push.row_bytes;
        float sums[kVectorRows] = {};
        std::uint32_t j = 0, item = team.first;
        for (;; item += team.step) {
            for (; item >= x.n_items && j < push.n_used; ++j) item -= x.n_items;
            if (j >= push.n_used) break;
            const std::byte* matrix = shared.down[j];
            if (matrix == nullptr) continue;
            const std::byte* const rows[2] = {matrix + offsets[0], matrix + offsets[1]};
            x.multiply_rows(rows, item, j, shared.weights[j], wide, sums);
        }
        add_up(team, shared.vector.sums, sums);
#pragma unroll
        for (std::uint32_t i = 0; i < kVectorRows; ++i)
            if (team.leads() && first + i < push.n_out) push.out[first + i] = sums[i];
    }
}

}  // namespace lfm::gpu
