#include "backends/gpu/kernels/rows.h"

#include <cmath>

#include "backends/gpu/kernels/group_sum.h"
#include "backends/gpu/kernels/quantise_block.h"
#include "backends/gpu/kernels/row_set.h"
#include "backends/gpu/kernels/silu.h"
#include "backends/gpu/kernels/wide.h"
#include "backends/gpu/platform/launch.h"

namespace lfm::gpu {
namespace {

// Of one column, and of four.
__device__ inline float square(float x) { return x * x; }
__device__ inline float square(const Floats4& x) { return x.x * x.x + x.y * x.y + x.z * x.z + x.w * x.w; }

__device__ inline float scaled(float x, float scale, float weight) { return x * scale * weight; }
__device__ inline Floats4 scaled(const Floats4& x, float scale, const Floats4& weight) {
    return {scaled(x.x, scale, weight.x), scaled(x.y, scale, weight.y), scaled(x.z, scale, weight.z),
            scaled(x.w, scale, weight.w)};
}

struct Swiglu {
    static __device__ float of(float gate, float up) { return silu(gate) * up; }
};
struct Add {
    static __device__ float of(float a, float b) { return a + b; }
};

template <typename Function>
__device__ inline float each(float a, float b) {
    return Function::of(a, b);
}
template <typename Function>
__device__ inline Floats4 each(const Floats4& a, const Floats4& b) {
    return {Function::of(a.x, b.x), Function::of(a.y, b.y), Function::of(a.z, b.z), Function::of(a.w, b.w)};
}

/// Row `row` of rows of n; null where `rows` is.
template <typename Wide, typename Float>
__device__ inline Wide* row_of(Float* rows, std::uint32_t row, std::uint32_t n) {
    return rows != nullptr ? reinterpret_cast<Wide*>(rows) + std::size_t{row} * n : nullptr;
}

/// What one row of a norm reads and writes.
template <typename Wide>
struct NormRow {
    __device__ NormRow(const NormPush& push, std::uint32_t row)
        : n(push.n_cols / (sizeof(Wide) / sizeof(float))),
          first_block(std::size_t{row} * (push.n_cols / 32)),
          to(push.to),
          x(row_of<const Wide>(push.x, row, n)),
          first(row_of<const Wide>(push.added[0], row, n)),
          second(row_of<const Wide>(push.added[1], row, n)),
          weight(reinterpret_cast<const Wide*>(push.weight)),
          sum(row_of<Wide>(push.sum, row, n)),
          out(row_of<Wide>(push.out, row, n)),
          out_too(row_of<Wide>(push.out_too, row, n)) {}

    /// All lanes of the warp call it; those with i from n on have nothing to store.
    __device__ void store(const Wide& value, std::uint32_t i) const {
        if (i < n) {
            out[i] = value;
            if (out_too != nullptr) out_too[i] = value;
        }
        if constexpr (sizeof(Wide) == sizeof(Floats4)) {
            if (to.q == nullptr) return;
            const float four[4] = {value.x, value.y, value.z, value.w};
            store_block(quantise_four(four), i / 8, i % 8, i < n, reinterpret_cast<Words4*>(to.q) + 2 * first_block,
                        to.scales + first_block, to.sums + first_block);
        }
    }

    std::uint32_t n;  // of Wide
    std::size_t first_block;
    QuantisedRows to;
    const Wide *x, *first, *second, *weight;
    Wide *sum, *out, *out_too;
};

/// How many of a row's values a thread keeps until the mean is known; those beyond are read again.
constexpr std::uint32_t kKept = 4;

template <typename Wide>
__global__ void __launch_bounds__(kRowThreads, groups_with(96)) rms_norm(NormPush push) {
    begin_kernel();
    auto& sums = shared_memory<GroupSums<kRowThreads>>();
    const NormRow<Wide> row(push, group_index().x);
    const std::uint32_t me = thread_index(), n = row.n;
    Wide values[kKept] = {}, first[kKept] = {}, second[kKept] = {}, weights[kKept] = {};
#pragma unroll
    for (std::uint32_t k = 0; k < kKept; ++k) {  // all loads before anything waits for one
        const std::uint32_t i = k * kRowThreads + me;
        if (i >= n) continue;
        values[k] = row.x[i];
        if (row.first != nullptr) first[k] = row.first[i];
        if (row.second != nullptr) second[k] = row.second[i];
        weights[k] = row.weight[i];
    }
    float sum = 0;
#pragma unroll
    for (std::uint32_t k = 0; k < kKept; ++k) {
        const std::uint32_t i = k * kRowThreads + me;
        if (i >= n) continue;
        if (row.first != nullptr) values[k] = each<Add>(values[k], first[k]);
        if (row.second != nullptr) values[k] = each<Add>(values[k], second[k]);
        if (row.sum != nullptr) row.sum[i] = values[k];
        sum += square(values[k]);
    }
    for (std::uint32_t i = kKept * kRowThreads + me; i < n; i += kRowThreads) {
        Wide value = row.x[i];
        if (row.first != nullptr) value = each<Add>(value, row.first[i]);
        if (row.second != nullptr) value = each<Add>(value, row.second[i]);
        if (row.sum != nullptr) row.sum[i] = value;
        sum += square(value);
    }
    const float mean = sum_of_group(sum, sums) / static_cast<float>(push.n_cols);
    const float scale = 1.0f / sqrtf(mean + push.eps);
#pragma unroll
    for (std::uint32_t k = 0; k < kKept; ++k)
        if (k * kRowThreads < n) row.store(scaled(values[k], scale, weights[k]), k * kRowThreads + me);
    const Wide* const again = row.sum != nullptr ? row.sum : row.x;
    for (std::uint32_t first_of_all = kKept * kRowThreads; first_of_all < n; first_of_all += kRowThreads) {
        const std::uint32_t i = first_of_all + me;
        row.store(i < n ? scaled(again[i], scale, row.weight[i]) : Wide{}, i);
    }
}

template <typename Wide, typename Function>
__global__ void __launch_bounds__(kRowThreads) by_elements(ElementsPush push) {
    begin_kernel();
    const std::uint32_t n = push.n_cols / (sizeof(Wide) / sizeof(float)), row = group_index().y;
    const std::uint32_t column = group_index().x * kRowThreads + thread_index();
    if (column >= n) return;
    const std::size_t i = std::size_t{row} * n + column;
    reinterpret_cast<Wide*>(push.out)[i] =
        each<Function>(reinterpret_cast<const Wide*>(push.a)[i], reinterpret_cast<const Wide*>(push.b)[i]);
}

/// Without an index: indexing a kernel's arguments makes compilers copy them to memory.
__device__ inline CopyPush::Part part_of(const CopyPush& push, std::uint32_t i) {
    if (i == 0) return push.parts[0];
    if (i == 1) return push.parts[1];
    return i == 2 ? push.parts[2] : push.parts[3];
}

/// Copies rows bit by bit; with kOutputRows, those that get logits.
template <typename Wide>
__global__ void __launch_bounds__(kRowThreads) copy(CopyPush push) {
    begin_kernel();
    const CopyPush::Part part = part_of(push, group_index().z);
    const std::uint32_t n = part.n_cols / (sizeof(Wide) / sizeof(std::uint32_t)), row = group_index().y;
    const std::uint32_t column = group_index().x * kRowThreads + thread_index();
    if (column >= n) return;
    const std::uint32_t from = push.row_set == kTokenRows ? row : push.step->output_rows[row];
    reinterpret_cast<Wide*>(part.to)[std::size_t{row} * n + column] =
        reinterpret_cast<const Wide*>(part.from)[std::size_t{from} * n + column];
}

}  // namespace

Kernel norm_kernel(Columns columns) {
    using Sums = GroupSums<kRowThreads>;
    return columns == Columns::kFour ? make_kernel<Sums>("rms_norm", rms_norm<Floats4>, kRowThreads)
                                     : make_kernel<Sums>("rms_norm_any", rms_norm<float>, kRowThreads);
}

Kernel swiglu_kernel(Columns columns) {
    return columns == Columns::kFour ? make_kernel("swiglu", by_elements<Floats4, Swiglu>, kRowThreads)
                                     : make_kernel("swiglu_any", by_elements<float, Swiglu>, kRowThreads);
}

Kernel add_kernel(Columns columns) {
    return columns == Columns::kFour ? make_kernel("add", by_elements<Floats4, Add>, kRowThreads)
                                     : make_kernel("add_any", by_elements<float, Add>, kRowThreads);
}

Kernel copy_kernel(Columns columns) {
    return columns == Columns::kFour ? make_kernel("copy", copy<Words4>, kRowThreads)
                                     : make_kernel("copy_any", copy<std::uint32_t>, kRowThreads);
}

}  // namespace lfm::gpu
