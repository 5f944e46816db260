// What the operations with weights share: quantised inputs, how weights are cut among groups, and which kernels run.
#pragma once

#include <cstdint>
#include <string_view>

#include "backends/device/weight_check.h"
#include "backends/gpu/kernels/matmul.h"
#include "backends/gpu/kernels/quantise.h"
#include "backends/gpu/operations/operations.h"

namespace lfm::gpu {

/// Quantised weights are multiplied with 8-bit activations (unless ActivationKind::kFloat), the others with f32 or what
/// Rounding allows.
constexpr bool is_quantised(DType type) { return type != DType::kF32 && type != DType::kF16 && type != DType::kBF16; }

/// The kernels of a type. Throws Error{kUnsupportedModel} when there are none.
MatmulKernels kernels_for(std::string_view operation, DType type);

void reserve_quantised(ScratchSizes& sizes, const QuantisedAreas& areas, std::size_t n_rows, std::size_t n_cols);

/// Whether this device multiplies weights of the type with quantised activations.
inline bool meets_quantised(const Recorder& recorder, DType type) {
    return is_quantised(type) && recorder.traits().activations == ActivationKind::kQuantised;
}

QuantisedRows quantised_rows(const Recorder& recorder, const QuantisedAreas& areas);
/// Where the operation also writes its rows quantised, which the recorder notes; null when no later one reads them so.
QuantisedRows quantised_output(Recorder& recorder, const RowsView& rows, const QuantisedAreas& areas = kInputAreas);

// Inputs, without launching anything.
/// x in f32 and, in these areas, quantised.
Input input_at(const Recorder& recorder, const float* x, const QuantisedAreas& areas);
/// x in f32 and, where the recorder knows of it, quantised.
Input input_of(const Recorder& recorder, const RowsView& x);

/// x in f32 and quantised: launches a kernel unless it is quantised already.
Input quantise(Recorder& recorder, const RowsView& x, RowSet rows);

/// Whether activations that meet F16 and BF16 weights may be rounded as kernels/tile_half.h does.
enum class Rounding : std::uint8_t { kNone, kAllowed };
/// The kernel for many rows of x, or for few with each of many matrices.
TileKernel tile_kernel(const Recorder& recorder, std::string_view operation, DType type,
                       Rounding rounding = Rounding::kAllowed);

/// Whether a product and the swiglu after it can be one launch: silu(gate · x) ⊙ up · x.
bool can_merge(const Recorder& recorder, const MatmulArgs& matmul, const SwigluArgs& swiglu);
void lower(Recorder& recorder, const MatmulArgs& matmul, const SwigluArgs& swiglu);

/// Whether a product and the short convolution of what comes out can be one launch.
bool can_merge(const Recorder& recorder, const MatmulArgs& matmul, const ShortConvArgs& conv);
void lower(Recorder& recorder, const MatmulArgs& matmul, const ShortConvArgs& conv);

/// As lower(recorder, args).
void multiply(Recorder& recorder, const MatmulArgs& args, Rounding rounding);

/// How kVectorThreads threads are cut into teams, and how many groups of the kernel there are, for n_rows rows of n_in
/// weights of a type, of which a team takes rows_at_once: as many groups as run at a time, if there are rows for them.
struct VectorShape {
    std::uint32_t sets_per_row, n_groups;
};
VectorShape vector_shape(const Recorder& recorder, const Kernel& kernel, DType type, std::uint32_t n_rows,
                         std::uint32_t n_in, std::uint32_t rows_at_once);

}  // namespace lfm::gpu
