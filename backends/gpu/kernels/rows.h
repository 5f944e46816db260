// Kernels that work row by row: rms_norm, swiglu, add, copy. There are as many groups as the step has rows: none looks
// whether its row exists, which would be a read of memory before all others.
#pragma once

#include <cstdint>

#include "backends/gpu/kernels/step.h"
#include "backends/gpu/platform/api.h"

namespace lfm::gpu {

/// Columns that a thread moves at once. kFour: rows of a multiple of four columns, at multiples of 16 bytes.
enum class Columns : std::uint32_t { kOne = 1, kFour = 4 };

inline constexpr std::uint32_t kRowThreads = 256;
/// Columns of a group of the kernels that go element by element.
constexpr std::uint32_t columns_of_group(Columns columns) { return kRowThreads * static_cast<std::uint32_t>(columns); }

struct RmsNormPush {
    const float* x;
    const float* weight;
    float* out;
    std::uint32_t n_cols;
    float eps;
};
/// A group a row, along x.
Kernel rms_norm_kernel(Columns columns);

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
