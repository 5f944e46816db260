// Products of an item of quantised weights with quantised activations, and of F32, F16 and BF16 weights with f32.
#pragma once

#include "backends/gpu/kernels/items.h"
#include "backends/gpu/kernels/quantise_block.h"

namespace lfm::gpu {

/// Whether the sums of runs of x are wanted.
template <class Weight>
__device__ constexpr bool meets_sums() {
    if constexpr (kHasStored<Weight>) return Weight::kHasMin || Weight::kLow.raise != 0 || Weight::kHigh.raise != 0;
    return Weight::kHasMin;
}

/// The activations that meet an item's two runs.
struct InputItem {
    Words4 low, high;
    float low_scale, high_scale;
    std::int32_t low_sum, high_sum;
};

template <class Weight>
__device__ inline InputItem load_input(const Words4* q, const float* scales, const std::uint32_t* sums,
                                       std::uint32_t item) {
    const RunPlaces runs = runs_of<Weight::kOrder>(item);
    InputItem input{q[runs.low], q[runs.high], scales[runs.low / 2], 0, 0, 0};
    input.high_scale = Weight::kOrder == RunOrder::kPlain ? input.low_scale : scales[runs.high / 2];
    if constexpr (meets_sums<Weight>()) {
        input.low_sum = sum_of_run(sums[runs.low / 2], runs.low % 2);
        input.high_sum = sum_of_run(sums[runs.high / 2], runs.high % 2);
    }
    return input;
}

__device__ inline std::int32_t dot_16(const Words4& a, const Words4& b, std::int32_t sum) {
#pragma unroll
    for (std::uint32_t i = 0; i < 4; ++i) sum = dot4(a.at[i], b.at[i], sum);
    return sum;
}

/// The product of an item with the activations that it meets. Sums of integers are exact.
template <class Weight>
__device__ inline float multiply(const Item& w, const InputItem& x) {
    if constexpr (Weight::kOrder == RunOrder::kPlain && Weight::kOneScale) {
        const std::int32_t total = dot_16(w.high.level, x.high, dot_16(w.low.level, x.low, 0));
        float result = w.low.scale * static_cast<float>(total);
        if constexpr (Weight::kHasMin) result -= w.low.min * static_cast<float>(x.low_sum + x.high_sum);
        return x.low_scale * result;
    } else {
        float low = w.low.scale * static_cast<float>(dot_16(w.low.level, x.low, 0));
        float high = w.high.scale * static_cast<float>(dot_16(w.high.level, x.high, 0));
        if constexpr (Weight::kHasMin) {
            low -= w.low.min * static_cast<float>(x.low_sum);
            high -= w.high.min * static_cast<float>(x.high_sum);
        }
        return x.low_scale * low + x.high_scale * high;
    }
}

__device__ inline std::int32_t dot_16_unsigned(const Words4& a, const Words4& b, std::int32_t sum) {
#pragma unroll
    for (std::uint32_t i = 0; i < 4; ++i) sum = dot4_unsigned(a.at[i], b.at[i], sum);
    return sum;
}

/// The same with levels as unpack_stored() gives them.
template <class Weight>
__device__ inline float multiply_stored(const Item& w, const InputItem& x) {
    constexpr Stored kLow = Weight::kLow, kHigh = Weight::kHigh;
    constexpr float kUndo = 1.0f / kHigh.times;
    if constexpr (Weight::kOrder == RunOrder::kPlain && Weight::kOneScale) {
        static_assert(kLow.times == 1 && kLow.raise == kHigh.raise);
        const std::int32_t low = dot_16_unsigned(w.low.level, x.low, -kLow.raise * (x.low_sum + x.high_sum));
        const std::int32_t total = dot_16_unsigned(w.high.level, x.high, kHigh.times * low);
        if constexpr (Weight::kHasMin) {
            const float result = kUndo * w.low.scale * static_cast<float>(total);
            return x.low_scale * (result - w.low.min * static_cast<float>(x.low_sum + x.high_sum));
        } else {
            return kUndo * x.low_scale * (w.low.scale * static_cast<float>(total));
        }
    } else {
        const std::int32_t low = dot_16_unsigned(w.low.level, x.low, -kLow.times * kLow.raise * x.low_sum);
        const std::int32_t high = dot_16_unsigned(w.high.level, x.high, -kHigh.times * kHigh.raise * x.high_sum);
        static_assert(kLow.times == 1);
        float low_result = w.low.scale * static_cast<float>(low);
        float high_result = kUndo * w.high.scale * static_cast<float>(high);
        if constexpr (Weight::kHasMin) {
            low_result -= w.low.min * static_cast<float>(x.low_sum);
            high_result -= w.high.min * static_cast<float>(x.high_sum);
        }
        return x.low_scale * low_result + x.high_scale * high_result;
    }
}

template <class Weight>
__device__ inline float multiply_loaded(const typename Weight::Raw& raw, const std::byte* row, std::uint32_t item,
                                        const InputItem& x) {
    if constexpr (kHasStored<Weight>)
        return multiply_stored<Weight>(Weight::unpack_stored(raw, row, item), x);
    else
        return multiply<Weight>(Weight::unpack(raw, row, item), x);
}

/// Level i of 16.
__device__ inline float level_of(const Words4& levels, std::uint32_t i) {
    return static_cast<float>(signed_byte(levels.at[i / 4] >> 8 * (i % 4)));
}

/// The 32 weights of an item of a row of n, zeros beyond the row's end; column_of() says which they are.
/// is_wide: every eighth weight lies at a multiple of 16 bytes, and n is a multiple of 8.
template <class Weight>
__device__ inline void load_values(const std::byte* row, std::uint32_t item, std::uint32_t n, bool is_wide,
                                   float (&w)[32]) {
    if constexpr (Weight::kIsFloat) {
#pragma unroll
        for (std::uint32_t i = 0; i < 32; i += 8) {
            const std::uint32_t first = 32 * item + i;
            float eight[8] = {};
            if (is_wide && first < n) Weight::load_eight(row + std::size_t{first} * Weight::kBytes, eight);
#pragma unroll
            for (std::uint32_t j = 0; j < 8; ++j) {
                if (!is_wide && first + j < n)
                    eight[j] = Weight::load_one(row + std::size_t{first + j} * Weight::kBytes);
                w[i + j] = eight[j];
            }
        }
    } else {
        const Item from = load_item<Weight>(row, item);
#pragma unroll
        for (std::uint32_t i = 0; i < 16; ++i) {
            w[i] = from.low.scale * level_of(from.low.level, i) - from.low.min;
            w[16 + i] = from.high.scale * level_of(from.high.level, i) - from.high.min;
        }
    }
}

/// The column of weight i of load_values().
template <class Weight>
__device__ inline std::uint32_t column_of(std::uint32_t item, std::uint32_t i) {
    if constexpr (Weight::kIsFloat) {
        return 32 * item + i;
    } else {
        const RunPlaces runs = runs_of<Weight::kOrder>(item);
        return 16 * (i < 16 ? runs.low : runs.high) + i % 16;
    }
}

/// Whether rows can be loaded eight weights at a time.
template <class Weight>
__device__ inline bool rows_are_wide(const std::byte* weight, std::uint32_t row_bytes, std::uint32_t n) {
    return Weight::kIsFloat && ((reinterpret_cast<std::uintptr_t>(weight) | row_bytes) & 15) == 0 && n % 8 == 0;
}

}  // namespace lfm::gpu
