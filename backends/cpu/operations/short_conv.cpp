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
        const auto gated = [&](std::uint32_t token, std::uint32_t c) {
            const float* bcx = args.bcx.data + std::size_t{token} * 3 * n_embd;
            return bcx[c] * bcx[2 * std::size_t{n_embd} + c];
        };
        // s of a row counted over the window and then the step's own rows.
        const auto counted = [&](std::uint32_t row, std::uint32_t c) {
            if (row >= ring.n_past) return gated(row - ring.n_past, c);
            return sequence.position + row < ring.n_past ? 0.0f : slot(row)[c];
        };
        for (std::uint32_t t = 0; t < n_tokens; ++t) {
            const float* gate = args.bcx.data + std::size_t{t} * 3 * n_embd + n_embd;
            float* out = args.out.data + std::size_t{t} * n_embd;
            for (std::uint32_t c = begin; c < end; ++c) {
                const float* taps = args.taps + std::size_t{c} * args.l_cache;
                float sum = 0;
                for (std::uint32_t j = 0; j < args.l_cache; ++j) sum += taps[j] * counted(t + j, c);
                out[c] = gate[c] * sum;
            }
        }
        const std::uint32_t n_kept = ring.n_kept(n_tokens);
        for (std::uint32_t i = 0; i < n_kept; ++i) {
            float* const kept = slot(ring.n_past + i);
            for (std::uint32_t c = begin; c < end; ++c) kept[c] = gated(n_tokens - n_kept + i, c);
        }
    });
}

}  // namespace lfm::cpu
