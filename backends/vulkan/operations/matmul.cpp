// embed and matmul. One row of activations: each group takes a few weight rows. Many: tiles of both.
#include "backends/vulkan/operations/matmul.h"

#include <algorithm>
#include <string>

#include "memory/error.h"

namespace lfm::vulkan {
namespace {

constexpr std::uint32_t kGroup = 64;       // local_size_x of quantise.comp and embed.comp
constexpr std::uint32_t kTileTokens = 64;  // of matmul_tile.comp
// In a step of many tokens mostly one row gets logits: up to this many rows go through matmul_vector instead.
constexpr std::uint32_t kFewOutputs = 4;

/// Weight rows of a group. Where there are few rows, fewer of them per group keep more of the device busy.
std::uint32_t rows_of_group(std::uint32_t n_out) { return n_out >= 4096 ? 4 : 2; }

struct MatmulPush {
    std::uint64_t step = 0;
    InputAddresses input;
    std::uint64_t weight = 0, out = 0;
    std::uint32_t row_bytes = 0, n_in = 0, n_out = 0, row_set = 0;
    std::uint32_t bound = 0;  // rows of the step: the most for matmul_vector, the fewest for matmul_tile
};

void multiply_vector(Recorder& recorder, const MatmulOutput& output, MatmulPush push, const Axis& rows) {
    const WeightView& weight = output.weight;
    const std::uint32_t n_rows = rows_of_group(weight.n_out);
    push.bound = kFewOutputs;
    recorder.dispatch(
        Kernel("matmul_vector", {static_cast<std::uint32_t>(weight.type), n_rows, vector_threads(weight.n_in)}), push,
        {fixed(std::min(groups_of(weight.n_out, n_rows), kMaxGroups)), rows, fixed(1)});
}

void multiply_tiles(Recorder& recorder, const MatmulOutput& output, MatmulPush push, RowSet rows) {
    push.bound = rows == RowSet::kOutputs ? kFewOutputs + 1 : 1;
    recorder.dispatch(Kernel("matmul_tile", {static_cast<std::uint32_t>(output.weight.type)}), push,
                      {fixed(groups_of(output.weight.n_out, kTileRows)), per_row(rows, kTileTokens), fixed(1)});
}

bool any_quantised(const MatmulArgs& args) {
    return std::ranges::any_of(std::span(args.outputs).first(args.n_outputs),
                               [](const MatmulOutput& output) { return is_quantised(output.weight.type); });
}

}  // namespace

bool supports_weight(DType type) {
    const std::span types = all_dtypes();
    return std::ranges::find(types, type, &DTypeInfo::type) != types.end();
}

void reserve_quantised(ScratchSizes& sizes, const QuantisedAreas& areas, std::size_t n_rows, std::size_t n_cols) {
    const std::size_t n_blocks = n_rows * (n_cols / 32);
    sizes.need(areas.q, n_blocks * 32);
    sizes.need(areas.scale, n_blocks * sizeof(float));
    sizes.need(areas.sums, n_blocks * sizeof(std::uint32_t));
}

InputAddresses input_addresses(const Recorder& recorder, const QuantiseRows& rows) {
    return {rows.x, recorder.scratch(rows.areas.q), recorder.scratch(rows.areas.scale),
            recorder.scratch(rows.areas.sums)};
}

void quantise(Recorder& recorder, const QuantiseRows& rows) {
    if (recorder.traits().activations == ActivationKind::kFloat) return;
    struct {
        std::uint64_t step;
        InputAddresses input;
        std::uint32_t n_cols, row_set, rows_each;
    } const push{recorder.params(), input_addresses(recorder, rows), rows.n_cols, static_cast<std::uint32_t>(rows.rows),
                 rows.rows_each};
    recorder.dispatch(Kernel("quantise"), push,
                      {fixed(groups_of(rows.n_cols / 32, kGroup)), per_row(rows.rows, 1, rows.rows_each), fixed(1)});
}

void reserve(ScratchSizes& sizes, const MatmulArgs& args) {
    if (any_quantised(args)) reserve_quantised(sizes, kInputAreas, sizes.limits().n_batch, args.x.n_cols);
}

void lower(Recorder& recorder, const MatmulArgs& args) {
    const QuantiseRows input{.x = address_of(args.x.data), .n_cols = args.x.n_cols, .rows = args.rows};
    if (any_quantised(args)) {
        quantise(recorder, input);
        recorder.barrier();
    }
    for (const MatmulOutput& output : std::span(args.outputs).first(args.n_outputs)) {
        const WeightView& weight = output.weight;
        check_weight("matmul", weight);
        const MatmulPush push{.step = recorder.params(),
                              .input = input_addresses(recorder, input),
                              .weight = address_of(weight.data),
                              .out = address_of(output.out.data),
                              .row_bytes = static_cast<std::uint32_t>(weight.row_bytes),
                              .n_in = weight.n_in,
                              .n_out = weight.n_out,
                              .row_set = static_cast<std::uint32_t>(args.rows)};
        if (recorder.step_class() == StepClass::kOne) {
            multiply_vector(recorder, output, push, per_row(args.rows));
            continue;
        }
        multiply_tiles(recorder, output, push, args.rows);
        if (args.rows == RowSet::kOutputs) multiply_vector(recorder, output, push, fixed(kFewOutputs));
    }
}

void lower(Recorder& recorder, const EmbedArgs& args) {
    check_weight("embed", args.table);
    struct {
        std::uint64_t step, table, out;
        std::uint32_t row_bytes, n_cols, n_rows;
    } const push{recorder.params(),         address_of(args.table.data),
                 address_of(args.out.data), static_cast<std::uint32_t>(args.table.row_bytes),
                 args.table.n_in,           args.table.n_out};
    recorder.dispatch(Kernel("embed", {static_cast<std::uint32_t>(args.table.type)}), push,
                      {fixed(groups_of(groups_of(args.table.n_in, 32), kGroup)), per_row(RowSet::kTokens), fixed(1)});
}

}  // namespace lfm::vulkan
