// embed and matmul. Few rows of activations: each group takes some weight rows. Many: tiles of both.
#include "backends/gpu/operations/matmul.h"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "memory/error.h"

namespace lfm::gpu {
namespace {

// In a step of many tokens usually only one row gets logits: up to this many rows are multiplied one by one.
constexpr std::uint32_t kFewOutputs = 4;
constexpr std::uint32_t kSetsPerProcessor = 32;  // that keep it busy

std::uint32_t row_set_of(RowSet rows) { return rows == RowSet::kTokens ? 0 : 1; }

using Outputs = std::span<const MatmulOutput>;

std::uint32_t n_rows_of(Outputs outputs) {
    std::uint32_t n = 0;
    for (const MatmulOutput& output : outputs) n += output.weight.n_out;
    return n;
}

/// Outputs of one type, at most three, in one launch.
void multiply_vectors(Recorder& recorder, const MatmulArgs& args, Outputs outputs, const Axis& rows) {
    const DType type = outputs[0].weight.type;
    const Kernel kernel = kernels_for("matmul", type).vector;
    const VectorShape shape = vector_shape(recorder, kernel, type, n_rows_of(outputs), args.x.n_cols, kVectorRows);
    VectorPush push{.step = recorder.step(),
                    .input = input_of(recorder, args.x),
                    .n_in = args.x.n_cols,
                    .row_set = row_set_of(args.rows),
                    .most_rows = rows.count ? 0 : kFewOutputs,  // else the step has as many as there are groups
                    .sets_per_row = shape.sets_per_row};
    for (std::size_t i = 0; i < outputs.size(); ++i)
        push.outputs[i] = {outputs[i].weight.data, outputs[i].out.data,
                           static_cast<std::uint32_t>(outputs[i].weight.row_bytes), outputs[i].weight.n_out};
    recorder.launch(kernel, push, {fixed(shape.n_groups), rows, fixed(1)});
}

/// All outputs: neighbours of one type in one launch.
void multiply_vectors(Recorder& recorder, const MatmulArgs& args, const Axis& rows) {
    const Outputs outputs = Outputs(args.outputs).first(args.n_outputs);
    for (std::size_t begin = 0, end = 0; begin < outputs.size(); begin = end) {
        while (end < outputs.size() && outputs[end].weight.type == outputs[begin].weight.type) ++end;
        multiply_vectors(recorder, args, outputs.subspan(begin, end - begin), rows);
    }
}

/// Matrices of few rows have a kernel of their own where nothing is rounded. Tiles of more rows of x take fewer
/// instructions for the same work; they are taken where a full step has groups enough: two a processor run at a time.
TileKernel matrix_kernel(const Recorder& recorder, const WeightView& weight, Rounding rounding) {
    const TileKernel tile = tile_kernel(recorder, "matmul", weight.type, rounding);
    const MatmulKernels kernels = kernels_for("matmul", weight.type);
    const bool plain = tile.kernel.function == kernels.tile_float.function && !is_quantised(weight.type);
    if (plain && weight.n_out <= kMostThinRows) return kernels.tile_thin;
    if (tile.kernel.function != kernels.tile_fast.kernel.function) return tile;
    const TileKernel& wide = kernels.tile_wide;
    const std::uint64_t n_groups =
        std::uint64_t{groups_of(weight.n_out, wide.rows)} * groups_of(recorder.limits().n_batch, wide.tokens);
    return n_groups >= 2 * std::uint64_t{recorder.traits().n_processors} ? wide : tile;
}

struct TileOptions {
    Input input;
    std::uint32_t fewest_rows;
    Rounding rounding;
};
void multiply_tiles(Recorder& recorder, const MatmulArgs& args, const MatmulOutput& output,
                    const TileOptions& options) {
    const WeightView& weight = output.weight;
    const TileKernel tile = matrix_kernel(recorder, weight, options.rounding);
    const TilePush push{.step = recorder.step(),
                        .input = options.input,
                        .weight = weight.data,
                        .out = output.out.data,
                        .row_bytes = static_cast<std::uint32_t>(weight.row_bytes),
                        .n_in = weight.n_in,
                        .n_out = weight.n_out,
                        .row_set = row_set_of(args.rows),
                        .fewest_rows = options.fewest_rows};
    recorder.launch(tile.kernel, push,
                    {fixed(groups_of(weight.n_out, tile.rows)), fixed(1), per_row(args.rows, tile.tokens)});
}

void check_outputs(const MatmulArgs& args) {
    for (const MatmulOutput& output : Outputs(args.outputs).first(args.n_outputs)) {
        check_weight("matmul", output.weight);
        if (output.weight.n_in != args.x.n_cols)
            throw Error(
                ErrorCode::kUnsupportedModel, "matmul",
                "expected rows of " + std::to_string(args.x.n_cols) + ", found " + std::to_string(output.weight.n_in));
    }
}

/// Whether the kernels of few rows can take the input, which a group may have to hold quantised.
bool can_be_vectors(const Recorder& recorder, const MatmulArgs& args) {
    if (recorder.traits().activations == ActivationKind::kFloat) return false;
    return args.x.n_cols <= kMostVectorInputs;
}

}  // namespace

bool supports_weight(DType type) { return matmul_kernels(type).has_value(); }

MatmulKernels kernels_for(std::string_view operation, DType type) {
    if (const std::optional<MatmulKernels> kernels = matmul_kernels(type)) return *kernels;
    throw Error(ErrorCode::kUnsupportedModel, operation,
                "expected weights of a type with kernels, found " + std::string(dtype_name(type)));
}

void reserve_quantised(ScratchSizes& sizes, const QuantisedAreas& areas, std::size_t n_rows, std::size_t n_cols) {
    const std::size_t n_blocks = n_rows * (n_cols / 32);
    sizes.need(areas.q, n_blocks * 32);
    sizes.need(areas.scales, n_blocks * sizeof(float));
    sizes.need(areas.sums, n_blocks * sizeof(std::uint32_t));
}

QuantisedRows quantised_rows(const Recorder& recorder, const QuantisedAreas& areas) {
    return {recorder.scratch<std::byte>(areas.q), recorder.scratch<float>(areas.scales),
            recorder.scratch<std::uint32_t>(areas.sums)};
}

Input input_at(const Recorder& recorder, const float* x, const QuantisedAreas& areas) {
    const QuantisedRows rows = quantised_rows(recorder, areas);
    return {x, rows.q, rows.scales, rows.sums};
}

Input input_of(const Recorder& recorder, const RowsView& x) {
    const QuantisedAreas* areas = recorder.quantised(x);
    return areas != nullptr ? input_at(recorder, x.data, *areas) : Input{x.data, nullptr, nullptr, nullptr};
}

QuantisedRows quantised_output(Recorder& recorder, const RowsView& rows, const QuantisedAreas& areas) {
    if (!recorder.wants_quantised()) return {};
    recorder.made_quantised(rows, areas);
    return quantised_rows(recorder, areas);
}

Input quantise(Recorder& recorder, const RowsView& x, RowSet rows) {
    if (recorder.quantised(x) != nullptr) return input_of(recorder, x);
    const QuantisePush push{.step = recorder.step(),
                            .x = x.data,
                            .to = quantised_rows(recorder, kInputAreas),
                            .n_cols = x.n_cols,
                            .row_set = row_set_of(rows)};
    recorder.launch(quantise_kernel(), push, {per_row(rows), fixed(groups_of(x.n_cols, kQuantiseColumns)), fixed(1)});
    recorder.made_quantised(x, kInputAreas);
    return input_of(recorder, x);
}

TileKernel tile_kernel(const Recorder& recorder, std::string_view operation, DType type, Rounding rounding) {
    const MatmulKernels kernels = kernels_for(operation, type);
    const DeviceTraits& traits = recorder.traits();
    if (traits.activations == ActivationKind::kFloat) return {kernels.tile_float, kTileRows, kTileTokens};
    if (traits.multiplies_tiles && (is_quantised(type) || rounding == Rounding::kAllowed)) return kernels.tile_fast;
    return {kernels.tile, kTileRows, kTileTokens};
}

VectorShape vector_shape(const Recorder& recorder, const Kernel& kernel, DType type, std::uint32_t n_rows,
                         std::uint32_t n_in, std::uint32_t rows_at_once) {
    const std::uint32_t n_items = groups_of(n_in, is_quantised(type) ? kItem : kFloatItem);
    const std::uint32_t n_processors = std::max(recorder.traits().n_processors, 1u);
    const std::uint64_t wanted = std::uint64_t{n_processors} * kSetsPerProcessor;
    std::uint32_t sets = 1;
    while (sets < kVectorSets && n_items > 32 * sets &&
           std::uint64_t{groups_of(n_rows, rows_at_once)} * sets * 2 <= wanted)
        sets *= 2;
    return {sets, std::min(groups_of(n_rows, rows_at_once * (kVectorSets / sets)),
                           n_processors * recorder.groups_at_once(kernel))};
}

void reserve(ScratchSizes& sizes, const MatmulArgs& args) {
    const bool any_quantised = std::ranges::any_of(Outputs(args.outputs).first(args.n_outputs),
                                                   [](const auto& output) { return is_quantised(output.weight.type); });
    if (any_quantised) reserve_quantised(sizes, kInputAreas, sizes.limits().n_batch, args.x.n_cols);
}

void lower(Recorder& recorder, const MatmulArgs& args) { multiply(recorder, args, Rounding::kAllowed); }

bool can_merge(const Recorder& recorder, const MatmulArgs& matmul, const SwigluArgs& swiglu) {
    const auto goes = [](const RowsView& a, const RowsView& b) { return a.data == b.data && a.n_cols == b.n_cols; };
    const MatmulOutput &gate = matmul.outputs[0], &up = matmul.outputs[1];
    return recorder.step_class() == StepClass::kOne && can_be_vectors(recorder, matmul) && matmul.n_outputs == 2 &&
           matmul.rows == RowSet::kTokens && goes(gate.out, swiglu.gate) && goes(up.out, swiglu.up) &&
           goes(swiglu.out, swiglu.gate) && gate.weight.type == up.weight.type &&
           gate.weight.n_out == up.weight.n_out && gate.weight.row_bytes == up.weight.row_bytes;
}

void lower(Recorder& recorder, const MatmulArgs& matmul, const SwigluArgs& swiglu) {
    check_outputs(matmul);
    const WeightView &gate = matmul.outputs[0].weight, &up = matmul.outputs[1].weight;
    const Kernel kernel = kernels_for("matmul", gate.type).gate_up;
    const VectorShape shape = vector_shape(recorder, kernel, gate.type, gate.n_out, matmul.x.n_cols, 1);
    const Input input = input_of(recorder, matmul.x);
    const bool is_blocks = gate.n_out % 32 == 0 && gate.n_out / 32 <= kMostTickets;
    const GateUpPush push{.gate = gate.data,
                          .up = up.data,
                          .input = input,
                          .hidden = swiglu.out.data,
                          .up_out = swiglu.up.data,
                          .to = is_blocks ? quantised_output(recorder, swiglu.out, kHiddenAreas) : QuantisedRows{},
                          .tickets = recorder.tickets(),
                          .row_bytes = static_cast<std::uint32_t>(gate.row_bytes),
                          .n_in = matmul.x.n_cols,
                          .n_ff = gate.n_out,
                          .sets_per_row = shape.sets_per_row};
    recorder.launch(kernel, push, {fixed(shape.n_groups), fixed(1), fixed(1)});
}

bool can_merge(const Recorder& recorder, const MatmulArgs& matmul, const ShortConvArgs& conv) {
    const MatmulOutput& output = matmul.outputs[0];
    const std::uint32_t n_embd = conv.out.n_cols;
    const QuantisedAreas* areas = recorder.quantised(matmul.x);
    // The input is in other areas than the output will be: all groups read it until the end.
    return recorder.step_class() == StepClass::kOne && can_be_vectors(recorder, matmul) && matmul.n_outputs == 1 &&
           matmul.rows == RowSet::kTokens && meets_quantised(recorder, output.weight.type) && areas != nullptr &&
           areas->q == kInputAreas.q && output.out.data == conv.bcx.data && conv.bcx.n_cols == 3 * n_embd &&
           output.weight.n_out == 3 * n_embd && n_embd % 32 == 0 && n_embd / 32 <= kMostTickets && conv.l_cache > 0;
}

void lower(Recorder& recorder, const MatmulArgs& matmul, const ShortConvArgs& conv) {
    check_outputs(matmul);
    const WeightView& weight = matmul.outputs[0].weight;
    const Kernel kernel = kernels_for("matmul", weight.type).vector_conv;
    const VectorShape shape = vector_shape(recorder, kernel, weight.type, weight.n_out, matmul.x.n_cols, kVectorRows);
    const VectorConvPush push{.step = recorder.step(),
                              .input = input_at(recorder, matmul.x.data, kInputAreas),
                              .weight = weight.data,
                              .bcx = conv.bcx.data,
                              .taps = conv.taps,
                              .ring = conv.ring,
                              .out = conv.out.data,
                              .to = quantised_output(recorder, conv.out, kHiddenAreas),
                              .tickets = recorder.tickets(),
                              .row_bytes = static_cast<std::uint32_t>(weight.row_bytes),
                              .n_in = matmul.x.n_cols,
                              .n_embd = conv.out.n_cols,
                              .l_cache = conv.l_cache,
                              .n_slots = conv.n_slots,
                              .sets_per_row = shape.sets_per_row};
    recorder.launch(kernel, push, {fixed(shape.n_groups), fixed(1), fixed(1)});
}

void multiply(Recorder& recorder, const MatmulArgs& args, Rounding rounding) {
    const Outputs outputs = Outputs(args.outputs).first(args.n_outputs);
    check_outputs(args);
    const bool vectors = can_be_vectors(recorder, args), is_one = recorder.step_class() == StepClass::kOne;
    if (vectors && is_one) {
        multiply_vectors(recorder, args, per_row(args.rows));
        return;
    }
    const bool few_as_vectors = vectors && args.rows == RowSet::kOutputs;
    const bool quantises =
        std::ranges::any_of(outputs, [&](const auto& output) { return meets_quantised(recorder, output.weight.type); });
    const TileOptions options{.input = quantises ? quantise(recorder, args.x, args.rows) : input_of(recorder, args.x),
                              .fewest_rows = few_as_vectors ? kFewOutputs + 1 : 1,
                              .rounding = rounding};
    for (const MatmulOutput& output : outputs) multiply_tiles(recorder, args, output, options);
    if (few_as_vectors) multiply_vectors(recorder, args, fixed(kFewOutputs));
}

void lower(Recorder& recorder, const EmbedArgs& args) {
    check_weight("embed", args.table);
    const EmbedPush push{.step = recorder.step(),
                         .table = args.table.data,
                         .out = args.out.data,
                         .row_bytes = static_cast<std::uint32_t>(args.table.row_bytes),
                         .n_cols = args.table.n_in,
                         .n_rows = args.table.n_out};
    recorder.launch(
        kernels_for("embed", args.table.type).embed, push,
        {fixed(groups_of(groups_of(args.table.n_in, kItem), kEmbedThreads)), per_row(RowSet::kTokens), fixed(1)});
}

}  // namespace lfm::gpu
