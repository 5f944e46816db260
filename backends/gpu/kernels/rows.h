// Kernels that work row by row: rms_norm with the sums before it, swiglu, add, copy. There are as many groups as the
// step has rows: none looks whether its row exists, which would be a read of memory before all others.
#pragma once

#include <cstdint>

#include "backends/gpu/kernels/quantise.h"
#include "backends/gpu/kernels/step.h"
#include "backends/gpu/platform/api.h"

namespace lfm::gpu {

/// Columns that a thread moves at once. kFour: rows of a multiple of four columns, at multiples of 16 bytes.
enum class Columns : std::uint32_t { kOne = 1, kFour = 4 };

inline constexpr std::uint32_t kRowThreads = 256;
/// Columns of a group of the kernels that go element by element.
constexpr std::uint32_t columns_of_group(Columns columns) { return kRowThreads * static_cast<std::uint32_t>(columns); }

/// out = weight · s / sqrt(mean(s²) + eps), s = x or x + added[0] (+ added[1]), in this order. Null: nothing there.
struct NormPush {
    const float* x;
    const float* added[2];
    float* sum;  // where s goes; null only where nothing is added
    const float* weight;
    float* out;
    float* out_too;    // a second place for out
    QuantisedRows to;  // and for its quantised form: kFour, rows of a multiple of 32
    std::uint32_t n_cols;
    float eps;
};
/// A group a row, along x.
Kernel norm_kernel(Columns columns);

struct ElementsPush {
    const float *a, *b;
    float* out;
    std::uint32_t n_cols;
};
/// Elements of a row along x, rows along y. swiglu: a is the gate, b is up.
Kernel swiglu_kernel(Columns columns);
Kernel add_kernel(Columns columns);

struct CopyPush {
    struct Part {
        const std::uint32_t* from;
        std::uint32_t* to;
        std::uint32_t n_cols;
    };
    const Step* step;
    Part parts[4];
    std::uint32_t row_set;  // RowSet of backend.h
};
/// Elements of a row along x, rows along y, parts along z.
Kernel copy_kernel(Columns columns);

}  // namespace lfm::gpu
