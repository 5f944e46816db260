// The rows of x that weights are multiplied with, held quantised in a group's shared memory or read as they are; and
// how sets of lanes share rows of weights.
#pragma once

#include "backends/gpu/kernels/matmul.h"
#include "backends/gpu/kernels/multiply_item.h"
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
    std::uint32_t first, step;  // this lane takes items first, first + step, …
};

/// Replaces each lane's sums by those over all lanes of its team. The whole group calls it.
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

/// An item of n rows of weights, and the row of x that it meets.
template <std::uint32_t n>
struct Place {
    const std::byte* rows[n];
    std::uint32_t item, x_row;
    float factor;
    bool counts;  // false: it is loaded, but adds nothing
};
/// How many places a lane loads at once: two, or one for a type whose words take too many registers for that.
template <class Weight>
constexpr std::uint32_t places_of_lane() {
    if constexpr (Weight::kIsFloat)
        return 2;
    else
        return sizeof(typename Weight::Raw) <= 52 ? 2 : 1;
}
template <class Weight>
inline constexpr std::uint32_t kPlaces = places_of_lane<Weight>();

/// How weights are read: wide, as VectorInput::is_wide allows, or not. For quantised weights both are the same.
enum class Reading : std::uint8_t { kWide, kNarrow };

/// Rows of x side by side, in the form that a type's weights are multiplied with.
template <class Weight, bool kIsFloat = Weight::kIsFloat>
struct VectorInput;

template <class Weight>
struct VectorInput<Weight, false> {
    struct Shared {
        Words4 q[kMostVectorInputs / 16];
        float scales[kMostVectorInputs / 32];
        std::uint32_t sums[kMostVectorInputs / 32];
    };

    /// Takes n_rows rows of n values from row `row` on. The whole group calls it, and sync_group() before the first
    /// product.
    __device__ VectorInput(Shared& to, const Input& input, std::uint32_t row, std::uint32_t n_rows, std::uint32_t n)
        : shared(to), n_items(n / kItem) {
        if (input.q != nullptr)
            copy(to, input, row * n_items, n_rows * n_items);
        else
            quantise(to, input.x + std::size_t{row} * n, n_rows * n);
    }

    /// Blocks of 32 as another kernel left them: 16 bytes a load, all under way together.
    __device__ static void copy(Shared& to, const Input& input, std::size_t first, std::uint32_t n_blocks) {
        const auto* q = reinterpret_cast<const Words4*>(input.q) + 2 * first;
        for (std::uint32_t i = thread_index(); i < 2 * n_blocks; i += kVectorThreads) to.q[i] = q[i];
        for (std::uint32_t i = thread_index(); i < n_blocks; i += kVectorThreads) {
            to.scales[i] = input.scales[first + i];
            to.sums[i] = input.sums[first + i];
        }
    }

    /// Where x was not quantised before: each group does it again.
    __device__ static void quantise(Shared& to, const float* x, std::uint32_t end) {
        for (std::uint32_t first = 0; first < end; first += 4 * kVectorThreads) {
            const std::uint32_t column = first + 4 * thread_index();
            float four[4];
            load_four(x, column, column < end, four);
            store_block(quantise_four(four), column / 32, column / 4 % 8, column < end, to.q, to.scales, to.sums);
        }
    }

    __device__ static bool is_wide(const std::byte*, std::uint32_t) { return false; }

    /// Adds the products of each place to the sums, an item of each weight row.
    template <Reading, std::uint32_t n>
    __device__ void multiply(const Place<n> (&places)[kPlaces<Weight>], float (&sums)[n]) const {
        typename Weight::Raw raw[kPlaces<Weight>][n];
#pragma unroll
        for (std::uint32_t k = 0; k < kPlaces<Weight>; ++k)
#pragma unroll
            for (std::uint32_t i = 0; i < n; ++i) raw[k][i] = Weight::load(places[k].rows[i], places[k].item);
#pragma unroll
        for (std::uint32_t k = 0; k < kPlaces<Weight>; ++k) {
            const Place<n>& place = places[k];
            InputItem x = load_input<Weight>(shared.q, shared.scales, shared.sums, place.x_row * n_items + place.item);
            x.low_scale = place.counts ? place.factor * x.low_scale : 0;
            x.high_scale = place.counts ? place.factor * x.high_scale : 0;
#pragma unroll
            for (std::uint32_t i = 0; i < n; ++i)
                sums[i] += multiply_loaded<Weight>(raw[k][i], place.rows[i], place.item, x);
        }
    }

    const Shared& shared;
    std::uint32_t n_items;  // of a row
};

template <class Weight>
struct VectorInput<Weight, true> {
    struct Shared {};

    __device__ VectorInput(Shared&, const Input& input, std::uint32_t row, std::uint32_t, std::uint32_t n)
        : x(input.x + std::size_t{row} * n), n_in(n), n_items((n + kFloatItem - 1) / kFloatItem) {}

    /// Whether the items of rows at `weight` and of x lie at multiples of 16 bytes and are whole.
    __device__ bool is_wide(const std::byte* weight, std::uint32_t row_bytes) const {
        return rows_are_wide<Weight>(weight, row_bytes, n_in) && (reinterpret_cast<std::uintptr_t>(x) & 15) == 0;
    }

    template <Reading kReading, std::uint32_t n>
    __device__ void multiply(const Place<n> (&places)[kPlaces<Weight>], float (&sums)[n]) const {
        if constexpr (kReading == Reading::kWide)
            multiply_wide(places, sums);
        else
            multiply_narrow(places, sums);
    }

    template <std::uint32_t n>
    __device__ void multiply_narrow(const Place<n> (&places)[kPlaces<Weight>], float (&sums)[n]) const {
#pragma unroll
        for (std::uint32_t k = 0; k < kPlaces<Weight>; ++k) {
            const std::uint32_t first = kFloatItem * places[k].item;
            const float* from = x + places[k].x_row * n_in + first;
            for (std::uint32_t j = 0; j < kFloatItem && first + j < n_in && places[k].counts; ++j) {
#pragma unroll
                for (std::uint32_t i = 0; i < n; ++i)
                    sums[i] +=
                        places[k].factor * from[j] * Weight::load_one(places[k].rows[i] + (first + j) * Weight::kBytes);
            }
        }
    }

    template <std::uint32_t n>
    __device__ void multiply_wide(const Place<n> (&places)[kPlaces<Weight>], float (&sums)[n]) const {
        float w[kPlaces<Weight>][n][kFloatItem];
        Words4 of_x[kPlaces<Weight>][2];
#pragma unroll
        for (std::uint32_t k = 0; k < kPlaces<Weight>; ++k) {
            const std::uint32_t first = kFloatItem * places[k].item;
#pragma unroll
            for (std::uint32_t i = 0; i < n; ++i)
                Weight::load_eight(places[k].rows[i] + first * Weight::kBytes, w[k][i]);
            const auto* from = reinterpret_cast<const std::byte*>(x + places[k].x_row * n_in + first);
            of_x[k][0] = load<Words4>(from);
            of_x[k][1] = load<Words4>(from + 16);
        }
#pragma unroll
        for (std::uint32_t k = 0; k < kPlaces<Weight>; ++k)
#pragma unroll
            for (std::uint32_t i = 0; i < n; ++i) {
                float sum = 0;
#pragma unroll
                for (std::uint32_t j = 0; j < kFloatItem; ++j)
                    sum += w[k][i][j] * float_of_bits(of_x[k][j / 4].at[j % 4]);
                sums[i] += places[k].counts ? places[k].factor * sum : 0;
            }
    }

    const float* x;
    std::uint32_t n_in, n_items;
};

/// Registers that a lane needs so that all its loads can be under way together: kPlaces · kVectorRows Raws, and x, sums
/// and addresses.
template <class Weight>
constexpr std::uint32_t vector_registers() {
    if constexpr (Weight::kIsFloat)
        return Weight::kBytes == 2 ? 64 : 80;
    else if constexpr (requires { Weight::kVectorRegisters; })
        return Weight::kVectorRegisters;
    else
        return sizeof(typename Weight::Raw) <= 20 ? 64 : 80;
}
template <class Weight>
inline constexpr std::uint32_t kVectorGroups = groups_with(vector_registers<Weight>());

/// Adds this lane's part of the products of rows with the first row of x.
template <Reading kReading, class Weight, std::uint32_t n>
__device__ inline void multiply_rows(const VectorInput<Weight>& x, const Team& team, const std::byte* const (&rows)[n],
                                     float (&sums)[n]) {
    for (std::uint32_t item = team.first; item < x.n_items; item += kPlaces<Weight> * team.step) {
        Place<n> places[kPlaces<Weight>];
#pragma unroll
        for (std::uint32_t k = 0; k < kPlaces<Weight>; ++k) {
            const bool counts = item + k * team.step < x.n_items;
            places[k].item = counts ? item + k * team.step : item;
            places[k].x_row = 0;
            places[k].factor = 1;
            places[k].counts = counts;
#pragma unroll
            for (std::uint32_t i = 0; i < n; ++i) places[k].rows[i] = rows[i];
        }
        x.template multiply<kReading>(places, sums);
    }
}
template <class Weight, std::uint32_t n>
__device__ inline void multiply_rows(const VectorInput<Weight>& x, const Team& team, const std::byte* const (&rows)[n],
                                     bool wide, float (&sums)[n]) {
    if (Weight::kIsFloat && !wide)
        multiply_rows<Reading::kNarrow>(x, team, rows, sums);
    else
        multiply_rows<Reading::kWide>(x, team, rows, sums);
}

}  // namespace lfm::gpu
