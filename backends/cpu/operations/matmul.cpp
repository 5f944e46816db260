// matmul: activations quantised once, weight rows shared out in chunks.
#include <algorithm>

#include "backends/cpu/operations/context.h"

namespace lfm::cpu {

std::uint32_t rows_per_chunk(std::size_t row_bytes, std::uint32_t n_tokens) {
    constexpr std::size_t kChunkBytes = 64 << 10;
    const std::size_t rows = kChunkBytes / std::max<std::size_t>(row_bytes, 1) / 16 * 16;
    const std::size_t fewest = n_tokens >= kFewestUnpacked ? 64 : 16;
    return static_cast<std::uint32_t>(std::clamp<std::size_t>(rows, fewest, 256));
}

void quantise_rows(const Context& context, const float* x, std::uint32_t n_rows, std::uint32_t n,
                   ActivationBlock* out) {
    const auto one = [&](std::uint32_t row) {
        context.kernels.quantise(x + std::size_t{row} * n, n, out + row * activation_stride(n));
    };
    if (n_rows < 4)  // a row takes less than a microsecond
        for (std::uint32_t row = 0; row < n_rows; ++row) one(row);
    else
        context.team.for_each(n_rows, one);
}

void run(const Context& context, const MatmulArgs& args) {
    const std::uint32_t n_tokens = context.n_rows(args.rows);
    const auto outputs = std::span(args.outputs).first(args.n_outputs);
    const bool quantised = std::ranges::any_of(outputs, [&](const MatmulOutput& output) {
        return context.kernels.matmul_for(output.weight.type).activations == ActivationForm::kQ8;
    });
    if (quantised) quantise_rows(context, args.x.data, n_tokens, args.x.n_cols, context.scratch.input);

    std::uint32_t chunk_end[3] = {};  // running totals of the outputs' chunks
    std::uint32_t n_chunks = 0;
    for (std::uint32_t i = 0; i < args.n_outputs; ++i) {
        const WeightView& weight = outputs[i].weight;
        const std::uint32_t rows = rows_per_chunk(weight.row_bytes, n_tokens);
        chunk_end[i] = n_chunks += (weight.n_out + rows - 1) / rows;
    }
    context.team.for_each(n_chunks, [&](std::uint32_t chunk) {
        std::uint32_t i = 0;
        while (chunk >= chunk_end[i]) ++i;
        const WeightView& weight = outputs[i].weight;
        const std::uint32_t rows = rows_per_chunk(weight.row_bytes, n_tokens);
        const std::uint32_t first = (chunk - (i > 0 ? chunk_end[i - 1] : 0)) * rows;
        context.kernels.matmul_for(weight.type)
            .run({
                .weights = weight.data + first * weight.row_bytes,
                .row_bytes = weight.row_bytes,
                .n_rows = std::min(rows, weight.n_out - first),
                .n_in = weight.n_in,
                .x = args.x.data,
                .xq = context.scratch.input,
                .n_tokens = n_tokens,
                .y = outputs[i].out.data + first,
                .y_stride = weight.n_out,
            });
    });
}

}  // namespace lfm::cpu
