// The short convolution: gated rows, a few taps for each channel, and a ring of the last rows as its state.
#include <algorithm>

#include "backends/cpu/operations/context.h"
#include "backends/needs/conv_ring.h"

namespace lfm::cpu {

void run(const Context& context, const ShortConvArgs& args) {
    const std::uint32_t n_embd = args.out.n_cols;
    const std::uint32_t n_tokens = context.step.n_tokens;
    const StepSequence sequence = context.step.only_sequence();
    const ConvRing ring{args.l_cache - 1, args.n_slots};
    constexpr std::uint32_t kChannels = 256;  // a piece of work; channels are independent
    const auto slot = [&](std::uint32_t i) { return args.ring + std::size_t{ring.slot(sequence.window, i)} * n_embd; };

    context.team.for_each((n_embd + kChannels - 1) / kChannels, [&](std::uint32_t piece) {
        const std::uint32_t begin = piece * kChannels;
        const std::uint32_t end = std::min(n_embd, begin + kChannels);
        const auto bcx_of = [&](std::uint32_t token) { return args.bcx.data + std::size_t{token} * 3 * n_embd; };
        for (std::uint32_t t = 0; t < n_tokens; ++t) {
            float* out = args.out.data + std::size_t{t} * n_embd;
            std::fill(out + begin, out + end, 0.0f);
            // Rows are counted over the window and then the step's own.
            for (std::uint32_t j = 0; j < args.l_cache; ++j) {
                const std::uint32_t row = t + j;
                const float* taps = args.taps + j;
                if (row >= ring.n_past) {
                    const float *b = bcx_of(row - ring.n_past), *x = b + 2 * std::size_t{n_embd};
                    for (std::uint32_t c = begin; c < end; ++c)
                        out[c] += taps[std::size_t{c} * args.l_cache] * (b[c] * x[c]);
                } else if (sequence.position + row >= ring.n_past) {
                    const float* past = slot(row);
                    for (std::uint32_t c = begin; c < end; ++c) out[c] += taps[std::size_t{c} * args.l_cache] * past[c];
                }  // before the sequence's beginning: zeros
            }
            const float* gate = bcx_of(t) + n_embd;
            for (std::uint32_t c = begin; c < end; ++c) out[c] *= gate[c];
        }
        const std::uint32_t n_kept = ring.n_kept(n_tokens);
        for (std::uint32_t i = 0; i < n_kept; ++i) {
            float* const kept = slot(ring.n_past + i);
            const float *b = bcx_of(n_tokens - n_kept + i), *x = b + 2 * std::size_t{n_embd};
            for (std::uint32_t c = begin; c < end; ++c) kept[c] = b[c] * x[c];
        }
    });
}

}  // namespace lfm::cpu
