// Operations that work row by row: embed, rms_norm, swiglu, add, copy.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "backends/cpu/operations/context.h"

namespace lfm::cpu {
namespace {

// Below this much work a second thread costs more than it brings.
constexpr std::uint32_t kMinElements = 8192;
// Elementwise work is cut into pieces of this many elements, whatever the number of threads.
constexpr std::uint32_t kPiece = 4096;

/// work(row) for each row; on this thread alone when there is little to do.
template <typename Work>
void for_rows(const Context& context, std::uint32_t n_rows, std::uint32_t n_cols, Work&& work) {
    if (std::uint64_t{n_rows} * n_cols < kMinElements) {
        for (std::uint32_t row = 0; row < n_rows; ++row) work(row);
    } else {
        context.team.for_each(n_rows, work);
    }
}

/// Sum of squares in sixteen lanes, which the compiler turns into vector code without reordering anything.
float sum_of_squares(const float* x, std::uint32_t n) {
    float lanes[16] = {};
    std::uint32_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (std::uint32_t lane = 0; lane < 16; ++lane) lanes[lane] += x[i + lane] * x[i + lane];
    double sum = 0;
    for (const float lane : lanes) sum += lane;
    for (; i < n; ++i) sum += double{x[i]} * x[i];
    return static_cast<float>(sum);
}

/// function(begin, end) for each piece of n_rows · n_cols elements that lie side by side.
template <typename Function>
void for_elements(const Context& context, std::uint32_t n_rows, std::uint32_t n_cols, Function&& function) {
    const std::size_t n = std::size_t{n_rows} * n_cols;
    const auto piece = [&](std::uint32_t i) {
        const std::size_t begin = std::size_t{i} * kPiece;
        function(begin, std::min(n, begin + kPiece));
    };
    const auto n_pieces = static_cast<std::uint32_t>((n + kPiece - 1) / kPiece);
    if (n < kMinElements)
        for (std::uint32_t i = 0; i < n_pieces; ++i) piece(i);
    else
        context.team.for_each(n_pieces, piece);
}

}  // namespace

void run(const Context& context, const EmbedArgs& args) {
    const std::uint32_t n_embd = args.table.n_in;
    for_rows(context, context.step.n_tokens, n_embd, [&](std::uint32_t t) {
        const auto token = static_cast<std::size_t>(context.step.token_ids[t]);
        dequantise(args.table.type, args.table.data + token * args.table.row_bytes, n_embd,
                   args.out.data + std::size_t{t} * n_embd);
    });
}

void run(const Context& context, const RmsNormArgs& args) {
    const std::uint32_t n = args.x.n_cols;
    for_rows(context, context.n_rows(args.rows), n, [&](std::uint32_t row) {
        const float* x = args.x.data + std::size_t{row} * n;
        float* out = args.out.data + std::size_t{row} * n;
        const float scale = 1.0f / std::sqrt(sum_of_squares(x, n) / static_cast<float>(n) + args.eps);
        for (std::uint32_t i = 0; i < n; ++i) out[i] = x[i] * scale * args.weight[i];
    });
}

void run(const Context& context, const SwigluArgs& args) {
    for_elements(context, context.step.n_tokens, args.gate.n_cols, [&](std::size_t begin, std::size_t end) {
        context.kernels.swiglu(args.gate.data + begin, args.up.data + begin, args.out.data + begin, end - begin);
    });
}

void run(const Context& context, const AddArgs& args) {
    for_elements(context, context.step.n_tokens, args.a.n_cols, [&](std::size_t begin, std::size_t end) {
        const float* a = args.a.data;
        const float* b = args.b.data;
        float* out = args.out.data;
        for (std::size_t i = begin; i < end; ++i) out[i] = a[i] + b[i];
    });
}

void run(const Context& context, const CopyArgs& args) {
    const StepParams& step = context.step;
    for (const RowsCopy& part : std::span(args.parts).first(args.n_parts)) {
        const std::size_t n = part.x.n_cols;
        if (args.rows == RowSet::kTokens) {
            std::memcpy(part.out.data, part.x.data, step.n_tokens * n * sizeof(float));
            continue;
        }
        for (std::uint32_t i = 0; i < step.n_outputs; ++i)
            std::memcpy(part.out.data + i * n, part.x.data + step.output_row(i) * n, n * sizeof(float));
    }
}

}  // namespace lfm::cpu
