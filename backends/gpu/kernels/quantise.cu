#include "backends/gpu/kernels/quantise.h"

#include "backends/gpu/kernels/quantise_block.h"
#include "backends/gpu/kernels/row_set.h"
#include "backends/gpu/kernels/silu.h"
#include "backends/gpu/platform/launch.h"

namespace lfm::gpu {
namespace {

/// The column of the first of this thread's four values.
__device__ std::uint32_t first_column() { return 4 * (group_index().y * kQuantiseThreads + thread_index()); }

/// Quantises values(column) … values(column + 3) of one row.
template <typename Values>
__device__ void quantise_row(const Values& values, std::uint32_t row, std::uint32_t n_cols, const QuantisedRows& to) {
    const std::uint32_t column = first_column();
    const bool wanted = column < n_cols;
    float four[4];
#pragma unroll
    for (std::uint32_t i = 0; i < 4; ++i) four[i] = wanted ? values(column + i) : 0;
    const std::size_t first_block = std::size_t{row} * (n_cols / 32);
    store_block(quantise_four(four), column / 32, column / 4 % 8, wanted,
                reinterpret_cast<Words4*>(to.q) + 2 * first_block, to.scales + first_block, to.sums + first_block);
}

__global__ void __launch_bounds__(kQuantiseThreads) quantise(QuantisePush push) {
    begin_kernel();
    const std::uint32_t row = group_index().x;
    if (row >= n_rows(*push.step, push.row_set)) return;
    const float* x = push.x + std::size_t{row} * push.n_cols;
    quantise_row([x](std::uint32_t column) { return x[column]; }, row, push.n_cols, push.to);
}

__global__ void __launch_bounds__(kQuantiseThreads) gate(GatePush push) {
    begin_kernel();
    const std::uint32_t row = group_index().x;
    if (row >= *push.n_rows) return;
    float* gates = push.gate + std::size_t{row} * push.n_cols;
    const float* ups = push.up + std::size_t{row} * push.n_cols;
    const std::uint32_t column = first_column();
    for (std::uint32_t i = column; i < column + 4 && i < push.n_cols; ++i) gates[i] = silu(gates[i]) * ups[i];
}

__global__ void __launch_bounds__(kQuantiseThreads) gate_quantise(GatePush push) {
    begin_kernel();
    const std::uint32_t row = group_index().x;
    if (row >= *push.n_rows) return;
    const float* gates = push.gate + std::size_t{row} * push.n_cols;
    const float* ups = push.up + std::size_t{row} * push.n_cols;
    quantise_row([gates, ups](std::uint32_t column) { return silu(gates[column]) * ups[column]; }, row, push.n_cols,
                 push.to);
}

}  // namespace

Kernel quantise_kernel() { return make_kernel("quantise", quantise, kQuantiseThreads); }
Kernel gate_kernel() { return make_kernel("gate", gate, kQuantiseThreads); }
Kernel gate_quantise_kernel() { return make_kernel("gate_quantise", gate_quantise, kQuantiseThreads); }

}  // namespace lfm::gpu
