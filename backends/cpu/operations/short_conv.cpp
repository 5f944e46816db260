// The short convolution: gated rows, a few taps for each channel, and a window of the last rows as its state.
#include <algorithm>

#include "backends/cpu/operations/context.h"

namespace lfm::cpu {

void run(const Context& context, const ShortConvArgs& args) {
    const std::uint32_t n_embd = args.out.n_cols;
    const std::uint32_t n_tokens = context.step.n_tokens;
    const std::uint32_t n_past = args.l_cache - 1;
    const bool fresh = context.step.position == 0;
    constexpr std::uint32_t kChannels = 256;  // a piece of work; channels are independent

    context.team.for_each((n_embd + kChannels - 1) / kChannels, [&](std::uint32_t piece) {
        const std::uint32_t begin = piece * kChannels;
        const std::uint32_t end = std::min(n_embd, begin + kChannels);
        // s of the row `back` rows before token t, counted over the state and the step's own rows.
        const auto gated = [&](std::uint32_t row, std::uint32_t c) {
            if (row < n_past) return fresh ? 0.0f : args.state[std::size_t{row} * n_embd + c];
            const float* bcx = args.bcx.data + std::size_t{row - n_past} * 3 * n_embd;
            return bcx[c] * bcx[2 * std::size_t{n_embd} + c];
        };
        for (std::uint32_t t = 0; t < n_tokens; ++t) {
            const float* gate = args.bcx.data + std::size_t{t} * 3 * n_embd + n_embd;
            float* out = args.out.data + std::size_t{t} * n_embd;
            for (std::uint32_t c = begin; c < end; ++c) {
                const float* taps = args.taps + std::size_t{c} * args.l_cache;
                float sum = 0;
                for (std::uint32_t j = 0; j < args.l_cache; ++j) sum += taps[j] * gated(t + j, c);
                out[c] = gate[c] * sum;
            }
        }
        // Row i of the new state is row n_tokens + i of old state and step together: never one already overwritten.
        for (std::uint32_t i = 0; i < n_past; ++i)
            for (std::uint32_t c = begin; c < end; ++c)
                args.state[std::size_t{i} * n_embd + c] = gated(n_tokens + i, c);
    });
}

}  // namespace lfm::cpu
