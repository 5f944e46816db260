#include "backends/gpu/kernels/rows.h"

#include <cmath>

#include "backends/gpu/kernels/group_sum.h"
#include "backends/gpu/kernels/row_set.h"
#include "backends/gpu/kernels/silu.h"
#include "backends/gpu/kernels/wide.h"
#include "backends/gpu/platform/launch.h"

namespace lfm::gpu {
namespace {

// What a thread moves at once.
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

template <typename Wide>
__global__ void __launch_bounds__(kRowThreads) rms_norm(RmsNormPush push) {
    const std::uint32_t row = group_index().x;
    auto& sums = shared_memory<GroupSums<kRowThreads>>();
    const std::uint32_t n = push.n_cols / (sizeof(Wide) / sizeof(float));
    const Wide* x = reinterpret_cast<const Wide*>(push.x) + std::size_t{row} * n;
    float sum = 0;
    for (std::uint32_t i = thread_index(); i < n; i += kRowThreads) sum += square(x[i]);
    const float mean = sum_of_group(sum, sums) / static_cast<float>(push.n_cols);
    const float scale = 1.0f / sqrtf(mean + push.eps);
    const Wide* weight = reinterpret_cast<const Wide*>(push.weight);
    Wide* out = reinterpret_cast<Wide*>(push.out) + std::size_t{row} * n;
    for (std::uint32_t i = thread_index(); i < n; i += kRowThreads) out[i] = scaled(x[i], scale, weight[i]);
}

template <typename Wide, typename Function>
__global__ void __launch_bounds__(kRowThreads) by_elements(ElementsPush push) {
    const std::uint32_t n = push.n_cols / (sizeof(Wide) / sizeof(float)), row = group_index().y;
    const std::uint32_t column = group_index().x * kRowThreads + thread_index();
    if (column >= n) return;
    const std::size_t i = std::size_t{row} * n + column;
    reinterpret_cast<Wide*>(push.out)[i] =
        each<Function>(reinterpret_cast<const Wide*>(push.a)[i], reinterpret_cast<const Wide*>(push.b)[i]);
}

/// An index into what is passed to a kernel would move it all to memory.
__device__ inline CopyPush::Part part_of(const CopyPush& push, std::uint32_t i) {
    if (i == 0) return push.parts[0];
    if (i == 1) return push.parts[1];
    return i == 2 ? push.parts[2] : push.parts[3];
}

/// Bit by bit; of an output buffer's rows: the last of the step's.
template <typename Wide>
__global__ void __launch_bounds__(kRowThreads) copy(CopyPush push) {
    const CopyPush::Part part = part_of(push, group_index().z);
    const std::uint32_t n = part.n_cols / (sizeof(Wide) / sizeof(std::uint32_t)), row = group_index().y;
    const std::uint32_t column = group_index().x * kRowThreads + thread_index();
    if (column >= n) return;
    const std::uint32_t first = push.row_set == kTokenRows ? 0 : push.step->n_tokens - push.step->n_outputs;
    reinterpret_cast<Wide*>(part.to)[std::size_t{row} * n + column] =
        reinterpret_cast<const Wide*>(part.from)[(std::size_t{first} + row) * n + column];
}

}  // namespace

Kernel rms_norm_kernel(Columns columns) {
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
