// F16 and BF16 weights times many rows of x by products of small matrices of 16 bits (platform/tiles.h), laid out as
// tile_fast.h has its bytes. Weights bypass the registers where they and x lie at multiples of 16 bytes.
//
// Activations beside F16 weights become halves: eleven bits, an NMSE of 2e-8 of the product. A power of two for each
// row of x brings its largest value below a half's largest, so that none overflows. Beside BF16 weights they become the
// sum of two BF16 numbers, sixteen bits.
#pragma once

#include "backends/gpu/kernels/tile_fast.h"

namespace lfm::gpu {

inline constexpr std::uint32_t kHalfTileEights = 4;
using HalfShare = FastShare<kHalfTileEights>;
inline constexpr std::uint32_t kHalfTileTokens = HalfShare::kTokens;

/// 32 columns of weights and activations.
template <class Weight>
struct HalfTileShared {
    static constexpr std::uint32_t kTerms = Weight::kBits == SixteenBits::kHalf ? 1 : 2;  // of an activation
    static constexpr std::uint32_t kInput = 4 * sizeof(Words4) * kFastTileRows;
    static constexpr std::uint32_t kTerm = 4 * sizeof(Words4) * kHalfTileTokens;
    static constexpr std::uint32_t kStage = kInput + kTerms * kTerm;

    alignas(16) std::byte stages[2][kStage];
    Floats2 x_scale[kHalfTileTokens];  // of each row: what it is multiplied with, and its inverse
};

/// What activations of a row are multiplied with, and its inverse: the largest magnitude is then from 2^14 to 2^15.
__device__ inline Floats2 half_scale(std::uint32_t largest_bits) {
    if (largest_bits >= 0x7f800000 || largest_bits == 0) return {1, 1};
    const std::uint32_t exponent = largest_bits >> 23, least = 15;  // so that neither is subnormal
    const std::uint32_t counted = exponent > least ? exponent : least;
    return {float_of_bits((268 - counted) << 23), float_of_bits((counted - 14) << 23)};
}

/// Each set of lanes takes every fourth row of x.
template <class Weight>
__device__ inline void find_half_scales(HalfTileShared<Weight>& shared, const TilePush& push, const TileWork& work,
                                        std::uint32_t first, bool wide) {
    for (std::uint32_t token = lane_set(); token < kHalfTileTokens; token += kTileThreads / kLanes) {
        const float* x = push.input.x + std::size_t{tile_input_row(push, work, first + token)} * push.n_in;
        std::uint32_t largest =
            0;  // magnitudes as integers: the same order, and above all of them infinity and the NaNs
        const auto look_at = [&largest](std::uint32_t bits) {
            const std::uint32_t magnitude = bits & 0x7fffffff;
            largest = magnitude > largest ? magnitude : largest;
        };
        if (wide) {
#pragma unroll 4
            for (std::uint32_t i = 4 * lane(); i < push.n_in; i += 4 * kLanes) {
                const auto four = load<Words4>(reinterpret_cast<const std::byte*>(x + i));
#pragma unroll
                for (std::uint32_t j = 0; j < 4; ++j) look_at(four.at[j]);
            }
        } else {
            for (std::uint32_t i = lane(); i < push.n_in; i += kLanes) look_at(bits_of_float(x[i]));
        }
        for (std::uint32_t mask = kLanes / 2; mask > 0; mask /= 2) look_at(lane_xor(largest, mask));
        if (lane() == 0) shared.x_scale[token] = half_scale(largest);
    }
}

/// What a thread brings of each stage: 16 columns of a weight row and of a row of x.
template <class Weight>
struct HalfTileLoads {
    const std::byte* weights;
    const float* x;
    float x_scale;
    std::uint32_t to_weights, to_input;  // places of the first 8 columns; the other 8 lie at these ^ 16
};

/// A thread's columns of a row of x, on their way through registers.
struct HalfTilePart {
    float x[16];
};

template <class Weight>
__device__ inline void start_half_part(HalfTilePart& part, SharedPlace stage, const HalfTileLoads<Weight>& loads,
                                       std::uint32_t n_in, bool wide, std::uint32_t first) {
    first += 16 * fast_half(thread_index());
    const std::byte* weights = loads.weights + std::size_t{first} * Weight::kBytes;
    if (wide) {
#pragma unroll
        for (std::uint32_t i = 0; i < 16; i += 8) {
            const bool exists = first + i < n_in;
            const SharedPlace to = stage + (loads.to_weights ^ 2 * i);
            if (exists)
                start_copy(to, reinterpret_cast<const Words4*>(weights + i * Weight::kBytes));
            else
                store_shared(to, Words4{});
#pragma unroll
            for (std::uint32_t j = 0; j < 8; j += 4) {
                Words4 four{};
                if (exists) four = load<Words4>(reinterpret_cast<const std::byte*>(loads.x + first + i + j));
#pragma unroll
                for (std::uint32_t k = 0; k < 4; ++k) part.x[i + j + k] = float_of_bits(four.at[k]);
            }
        }
        return;
    }
#pragma unroll
    for (std::uint32_t i = 0; i < 16; i += 8) {
        Words4 eight{};
#pragma unroll
        for (std::uint32_t j = 0; j < 8; ++j) {
            const bool exists = first + i + j < n_in;
            const std::uint32_t bits = exists ? load<std::uint16_t>(weights + (i + j) * Weight::kBytes) : 0;
            eight.at[j / 2] |= bits << 16 * (j % 2);
            part.x[i + j] = exists ? loads.x[first + i + j] : 0;
        }
        store_shared(stage + (loads.to_weights ^ 2 * i), eight);
    }
}

template <class Weight>
__device__ inline void finish_half_part(const HalfTilePart& part, SharedPlace stage,
                                        const HalfTileLoads<Weight>& loads) {
    using Shared = HalfTileShared<Weight>;
#pragma unroll
    for (std::uint32_t i = 0; i < 16; i += 8) {
        Words4 terms[Shared::kTerms];
#pragma unroll
        for (std::uint32_t j = 0; j < 4; ++j) {
            float low = part.x[i + 2 * j], high = part.x[i + 2 * j + 1];
            if constexpr (Shared::kTerms == 1) {
                terms[0].at[j] = two_of<Weight::kBits>(low * loads.x_scale, high * loads.x_scale);
            } else {
                const std::uint32_t two = two_of<Weight::kBits>(low, high);
                terms[0].at[j] = two;
                terms[1].at[j] =
                    two_of<Weight::kBits>(low - first_of<Weight::kBits>(two), high - second_of<Weight::kBits>(two));
            }
        }
#pragma unroll
        for (std::uint32_t term = 0; term < Shared::kTerms; ++term)
            store_shared(stage + Shared::kInput + term * Shared::kTerm + (loads.to_input ^ 2 * i), terms[term]);
    }
    wait_for_copies();
}

/// Adds the products of a stage with some sixteens of rows of x.
template <class Weight, std::uint32_t kSixteens>
__device__ inline void multiply_half_stage(SharedPlace stage, const SetPlaces& places,
                                           FastSums<kHalfTileEights>& sums) {
    using Shared = HalfTileShared<Weight>;
    MatrixRows<WeightMatrices> of_w(stage, places.w);
    MatrixRows<InputMatrices> of_x(stage, places.x);
#pragma unroll
    for (std::uint32_t half = 0; half < 2; ++half) {
        // The next sixteen rows lie 1 KiB on, their halves the other way round.
        std::uint32_t a[2][4];
        load_matrices(a[0], of_w, 0);
        of_w.change(kOtherBlock);
        load_matrices(a[1], of_w, 1024);
#pragma unroll
        for (std::uint32_t two = 0; two < kSixteens; ++two) {
            float part[2][2][4];
#pragma unroll
            for (std::uint32_t i = 0; i < 16; ++i)
                part[i / 8][i / 4 % 2][i % 4] = sums[i / 8][2 * two + i / 4 % 2][i % 4];
#pragma unroll
            for (std::uint32_t term = 0; term < Shared::kTerms; ++term) {
                std::uint32_t words[4], b[2][2];
                load_matrices(words, of_x, Shared::kInput + term * Shared::kTerm + 1024 * two);
#pragma unroll
                for (std::uint32_t i = 0; i < 4; ++i) b[i / 2][i % 2] = words[i];
                add_products_of_16_bits<Weight::kBits>(part, a, b);
            }
#pragma unroll
            for (std::uint32_t i = 0; i < 16; ++i)
                sums[i / 8][2 * two + i / 4 % 2][i % 4] = part[i / 8][i / 4 % 2][i % 4];
            if (two + 1 < kSixteens || kSixteens % 2 == 1) of_x.change(kOtherBlock);
        }
    }
}

template <class Weight>
__global__ void __launch_bounds__(kTileThreads, 4) tile_half(TilePush push) {
    begin_kernel();
    using Shared = HalfTileShared<Weight>;
    Shared& shared = shared_memory<Shared>();
    const SharedPlace stages = place_in_shared(&shared);
    const TileWork work = tile_work(push);
    const std::uint32_t row = fast_weight_row(thread_index()), half = fast_half(thread_index());
    const std::uint32_t weight_row = group_index().x * kFastTileRows + row;
    const bool wide = rows_are_wide<Weight>(work.weight, push.row_bytes, push.n_in) &&
                      (reinterpret_cast<std::uintptr_t>(push.input.x) & 15) == 0;
    const SetPlaces places{HalfShare()};
    for (std::uint32_t first = work.begin + group_index().z * kHalfTileTokens; first < work.end;
         first += n_groups().z * kHalfTileTokens) {
        if constexpr (Shared::kTerms == 1) {
            find_half_scales(shared, push, work, first, wide);
            sync_group();
        }
        const HalfTileLoads<Weight> loads{
            work.weight + std::size_t{weight_row < push.n_out ? weight_row : push.n_out - 1} * push.row_bytes,
            push.input.x + std::size_t{tile_input_row(push, work, first + row)} * push.n_in,
            Shared::kTerms == 1 ? shared.x_scale[row].x : 1,
            kept(sizeof(Words4) * place_of_part(place_of_weight_row(row), 2 * half)),
            kept(sizeof(Words4) * place_of_part(row, 2 * half))};
        const std::uint32_t n_tokens = HalfShare().n_tokens(work.end - first);
        FastSums<kHalfTileEights> sums = {};
        HalfTilePart part;
        start_half_part(part, stages, loads, push.n_in, wide, 0);
        finish_half_part(part, stages, loads);
        sync_group();
        std::uint32_t present = 0;
        for (std::uint32_t column = 0; column < push.n_in; column += 32) {
            const SharedPlace next = stages + (Shared::kStage - present);
            const bool is_last = column + 32 >= push.n_in;
            if (!is_last) start_half_part(part, next, loads, push.n_in, wide, column + 32);
            if (n_tokens > 16)
                multiply_half_stage<Weight, 2>(stages + present, places, sums);
            else if (n_tokens > 0)
                multiply_half_stage<Weight, 1>(stages + present, places, sums);
            if (!is_last) finish_half_part(part, next, loads);
            sync_group();
            present = Shared::kStage - present;
        }
        if constexpr (Shared::kTerms == 1) {
            const HalfShare share;
#pragma unroll
            for (std::uint32_t i = 0; i < 32; ++i) {
                const std::uint32_t j = i / 4 % 4, token = share.token + 8 * j + 2 * share.t + i % 2;
                sums[i / 16][j][i % 4] *= shared.x_scale[token].y;
            }
            sync_group();  // before the scales of the next rows
        }
        store_fast_sums<kHalfTileEights>(push, work, first, sums);
    }
}

}  // namespace lfm::gpu
