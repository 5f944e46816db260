// Operations that work row by row: rms_norm, swiglu, add, copy.
#include <algorithm>
#include <initializer_list>
#include <span>

#include "backends/gpu/kernels/rows.h"
#include "backends/gpu/operations/matmul.h"

namespace lfm::gpu {
namespace {

Columns columns_of(std::uint32_t n_cols, std::initializer_list<const float*> rows) {
    const bool aligned = std::ranges::all_of(
        rows, [](const float* row) { return reinterpret_cast<std::uintptr_t>(row) % (4 * sizeof(float)) == 0; });
    return aligned && n_cols % 4 == 0 ? Columns::kFour : Columns::kOne;
}

/// Elements side by side in one row, rows along y.
Grid by_elements(std::uint32_t n_cols, Columns columns, RowSet rows) {
    return {fixed(groups_of(n_cols, columns_of_group(columns))), per_row(rows), fixed(1)};
}

}  // namespace

void lower(Recorder& recorder, const SumNorm& args) {
    const RmsNormArgs& norm = args.norm;
    const std::uint32_t n_cols = norm.x.n_cols;
    // Null counts as aligned.
    const Columns columns = columns_of(
        n_cols, {norm.x.data, args.added[0], args.added[1], args.sum, norm.weight, norm.out.data, args.out_too});
    const NormPush push{.x = norm.x.data,
                        .added = {args.added[0], args.added[1]},
                        .sum = args.sum,
                        .weight = norm.weight,
                        .out = norm.out.data,
                        .out_too = args.out_too,
                        .to = columns == Columns::kFour ? quantised_output(recorder, norm.out) : QuantisedRows{},
                        .n_cols = n_cols,
                        .eps = norm.eps};
    recorder.launch(norm_kernel(columns), push, {per_row(norm.rows), fixed(1), fixed(1)});
}

/// For the quantised form of one row.
void reserve(ScratchSizes& sizes, const SwigluArgs& args) {
    reserve_quantised(sizes, kHiddenAreas, 1, args.out.n_cols);
}

void lower(Recorder& recorder, const SwigluArgs& args) {
    const std::uint32_t n_cols = args.gate.n_cols;
    const Columns columns = columns_of(n_cols, {args.gate.data, args.up.data, args.out.data});
    const ElementsPush push{args.gate.data, args.up.data, args.out.data, n_cols};
    recorder.launch(swiglu_kernel(columns), push, by_elements(n_cols, columns, RowSet::kTokens));
}

void lower(Recorder& recorder, const AddArgs& args) {
    const std::uint32_t n_cols = args.a.n_cols;
    const Columns columns = columns_of(n_cols, {args.a.data, args.b.data, args.out.data});
    const ElementsPush push{args.a.data, args.b.data, args.out.data, n_cols};
    recorder.launch(add_kernel(columns), push, by_elements(n_cols, columns, RowSet::kTokens));
}

void lower(Recorder& recorder, const CopyArgs& args) {
    CopyPush push{.step = recorder.step(), .row_set = static_cast<std::uint32_t>(args.rows)};
    Columns columns = Columns::kFour;
    std::uint32_t widest = 0;
    for (std::uint32_t i = 0; i < args.n_parts; ++i) {
        const RowsCopy& part = args.parts[i];
        columns = std::min(columns, columns_of(part.x.n_cols, {part.x.data, part.out.data}));
        widest = std::max(widest, part.x.n_cols);
        push.parts[i] = {reinterpret_cast<const std::uint32_t*>(part.x.data),
                         reinterpret_cast<std::uint32_t*>(part.out.data), part.x.n_cols};
    }
    if (args.n_parts == 0) return;
    Grid grid = by_elements(widest, columns, args.rows);
    grid.z = fixed(args.n_parts);
    recorder.launch(copy_kernel(columns), push, grid);
}

}  // namespace lfm::gpu
