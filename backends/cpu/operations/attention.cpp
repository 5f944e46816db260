// The operations of attention: qk_norm_rope, kv_append, attention.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "backends/cpu/operations/context.h"
#include "backends/needs/kv_pages.h"
#include "memory/blocks.h"
#include "memory/half.h"

namespace lfm::cpu {
namespace {

/// work(t) for each token of the step; fewer than four are not worth a second thread.
template <typename Work>
void for_tokens(const Context& context, Work&& work) {
    if (context.step.n_tokens < 4)
        for (std::uint32_t t = 0; t < context.step.n_tokens; ++t) work(t);
    else
        context.team.for_each(context.step.n_tokens, work);
}

/// One head in place: norm, then rotation by the token's cosines and sines, head_dim / 2 each.
void norm_and_rotate(float* x, const float* weight, const float* rope, std::uint32_t head_dim, float eps) {
    double sum = 0;
    for (std::uint32_t i = 0; i < head_dim; ++i) sum += double{x[i]} * x[i];
    const float scale = 1.0f / std::sqrt(static_cast<float>(sum / head_dim) + eps);
    const std::uint32_t half = head_dim / 2;
    const float* cosine = rope;
    const float* sine = rope + half;
    for (std::uint32_t i = 0; i < half; ++i) {
        const float a = x[i] * scale * weight[i];
        const float b = x[i + half] * scale * weight[i + half];
        x[i] = a * cosine[i] - b * sine[i];
        x[i + half] = a * sine[i] + b * cosine[i];
    }
}

void store_q8_0(const float* x, std::size_t n, std::byte* to) {
    for (std::size_t i = 0; i < n; i += 32, to += sizeof(BlockQ8_0)) {
        float largest = 0;
        bool finite = true;
        for (std::size_t j = 0; j < 32; ++j) {
            largest = std::max(largest, std::fabs(x[i + j]));
            finite = finite && std::isfinite(x[i + j]);
        }
        const float d = finite ? largest / 127.0f : std::numeric_limits<float>::quiet_NaN();  // as in kernels.h
        const float inverse = d > 0 ? 1.0f / d : 0.0f;
        BlockQ8_0 block;
        block.d = f32_to_f16(d);
        for (std::size_t j = 0; j < 32; ++j)
            block.qs[j] = finite ? static_cast<std::int8_t>(std::nearbyint(x[i + j] * inverse)) : std::int8_t{0};
        std::memcpy(to, &block, sizeof block);
    }
}

void store_row(const float* x, std::size_t n, DType type, std::byte* to) {
    switch (type) {
        case DType::kF16:
            for (std::size_t i = 0; i < n; ++i) {
                const std::uint16_t half = f32_to_f16(x[i]);
                std::memcpy(to + 2 * i, &half, sizeof half);
            }
            break;
        case DType::kQ8_0: store_q8_0(x, n, to); break;
        default: std::memcpy(to, x, n * sizeof(float)); break;
    }
}

}  // namespace

void run(const Context& context, const QkNormRopeArgs& args) {
    for_tokens(context, [&](std::uint32_t t) {
        const float* rope = context.step.rope + std::size_t{t} * args.head_dim;
        float* q = args.q.data + std::size_t{t} * args.q.n_cols;
        float* k = args.k.data + std::size_t{t} * args.k.n_cols;
        for (std::uint32_t i = 0; i < args.q.n_cols; i += args.head_dim)
            norm_and_rotate(q + i, args.q_norm, rope, args.head_dim, args.eps);
        for (std::uint32_t i = 0; i < args.k.n_cols; i += args.head_dim)
            norm_and_rotate(k + i, args.k_norm, rope, args.head_dim, args.eps);
    });
}

void run(const Context& context, const KvAppendArgs& args) {
    const KvView& kv = args.cache;
    const std::size_t k_bytes = kv_row_bytes(kv, kv.k_type), v_bytes = kv_row_bytes(kv, kv.v_type);
    const std::size_t n = args.k.n_cols;
    for (const PageCopy& copy : context.step.page_copies) {
        const std::size_t from = std::size_t{copy.from} * kKvPageTokens, to = std::size_t{copy.to} * kKvPageTokens;
        std::memcpy(kv.k + to * k_bytes, kv.k + from * k_bytes, copy.n_tokens * k_bytes);
        std::memcpy(kv.v + to * v_bytes, kv.v + from * v_bytes, copy.n_tokens * v_bytes);
    }
    for_tokens(context, [&](std::uint32_t t) {
        const StepSequence sequence = context.step.sequence_of(t);
        const std::uint32_t row_of_it = t - sequence.first_row;
        if (row_of_it < sequence.n_replayed) return;
        const std::size_t row = kv_row(sequence.pages, sequence.position + row_of_it);
        store_row(args.k.data + t * n, n, kv.k_type, kv.k + row * k_bytes);
        store_row(args.v.data + t * n, n, kv.v_type, kv.v + row * v_bytes);
    });
}

void run(const Context& context, const AttentionArgs& args) {
    const KvView& kv = args.cache;
    const std::uint32_t n_group = args.q.n_cols / kv.head_dim / kv.n_head_kv;
    const std::size_t k_stride = kv_row_bytes(kv, kv.k_type);
    const std::size_t v_stride = kv_row_bytes(kv, kv.v_type);
    context.team.for_each(context.step.n_tokens * kv.n_head_kv, [&](std::uint32_t item) {
        // A sequence's last tokens have the most keys: within each thread's run they come first.
        const std::uint32_t t = context.step.n_tokens - 1 - item / kv.n_head_kv;
        const std::uint32_t head = item % kv.n_head_kv;
        const StepSequence sequence = context.step.sequence_of(t);
        const std::size_t at = std::size_t{t} * args.q.n_cols + std::size_t{head} * n_group * kv.head_dim;
        context.kernels.attend({
            .q = args.q.data + at,
            .n_heads = n_group,
            .head_dim = kv.head_dim,
            .scale = 1.0f / std::sqrt(static_cast<float>(kv.head_dim)),
            .k = kv.k + head * row_bytes(kv.k_type, kv.head_dim),
            .k_stride = k_stride,
            .v = kv.v + head * row_bytes(kv.v_type, kv.head_dim),
            .v_stride = v_stride,
            .k_type = kv.k_type,
            .v_type = kv.v_type,
            .n_keys = sequence.position + (t - sequence.first_row) + 1,
            .out = args.out.data + at,
            .pages = sequence.pages,
        });
    });
}

}  // namespace lfm::cpu
