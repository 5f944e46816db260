// The short convolution: gated rows, a few taps for each channel, and a ring of the last rows as its state.
#include <algorithm>

#include "backends/cpu/operations/context.h"
#include "backends/needs/conv_ring.h"

namespace lfm::cpu {
namespace {

/// Channels [begin, end) of one sequence's rows.
class Piece {
public:
    Piece(const ShortConvArgs& args, const StepSequence& sequence, std::uint32_t begin, std::uint32_t end)
        : args_(args),
          sequence_(sequence),
          ring_{args.l_cache - 1, args.n_slots},
          n_embd_(args.out.n_cols),
          begin_(begin),
          end_(end) {}

    void run() const {
        for (std::uint32_t t = 0; t < sequence_.n_rows; ++t) convolve(t);
        keep();
    }

private:
    /// B, C and X of the sequence's row t.
    const float* bcx(std::uint32_t t) const {
        return args_.bcx.data + std::size_t{sequence_.first_row + t} * 3 * n_embd_;
    }
    float* slot(std::uint32_t i) const { return row(sequence_.ring + ring_.slot(sequence_.window, i)); }
    float* row(std::uint32_t i) const { return args_.ring + std::size_t{i} * n_embd_; }
    /// Row i of the window before the step; null: zeros.
    const float* past(std::uint32_t i) const {
        if (sequence_.position + i < ring_.n_past) return nullptr;  // before the sequence's beginning
        switch (sequence_.window_from) {
            case WindowFrom::kRing: return slot(i);
            case WindowFrom::kSaved: return row(sequence_.saved + i);
            case WindowFrom::kZeros: break;
        }
        return nullptr;
    }

    void convolve(std::uint32_t t) const {
        float* out = args_.out.data + std::size_t{sequence_.first_row + t} * n_embd_;
        std::fill(out + begin_, out + end_, 0.0f);
        // Row i counts the window's rows first, then the step's own.
        for (std::uint32_t j = 0; j < args_.l_cache; ++j) {
            const std::uint32_t i = t + j;
            const float* taps = args_.taps + j;
            if (i >= ring_.n_past) {
                const float *b = bcx(i - ring_.n_past), *x = b + 2 * std::size_t{n_embd_};
                for (std::uint32_t c = begin_; c < end_; ++c)
                    out[c] += taps[std::size_t{c} * args_.l_cache] * (b[c] * x[c]);
            } else if (const float* before = past(i)) {
                for (std::uint32_t c = begin_; c < end_; ++c)
                    out[c] += taps[std::size_t{c} * args_.l_cache] * before[c];
            }
        }
        const float* gate = bcx(t) + n_embd_;
        for (std::uint32_t c = begin_; c < end_; ++c) out[c] *= gate[c];
    }

    /// Copies row i, counted as in convolve(), to a row of the conv state.
    void copy_row(std::uint32_t i, float* to) const {
        if (i >= ring_.n_past) {
            const float *b = bcx(i - ring_.n_past), *x = b + 2 * std::size_t{n_embd_};
            for (std::uint32_t c = begin_; c < end_; ++c) to[c] = b[c] * x[c];
        } else if (const float* before = past(i)) {
            std::copy(before + begin_, before + end_, to + begin_);
        } else {
            std::fill(to + begin_, to + end_, 0.0f);
        }
    }

    void keep() const {
        const std::uint32_t n_kept = ring_.n_kept(sequence_.n_rows);
        if (sequence_.window_from != WindowFrom::kRing)
            for (std::uint32_t i = 0; i < ring_.n_past; ++i) copy_row(i, slot(i));
        for (std::uint32_t i = 0; i < n_kept; ++i)
            copy_row(ring_.n_past + sequence_.n_rows - n_kept + i, slot(ring_.n_past + i));
        if (sequence_.save_to == StepSequence::kNowhere) return;
        for (std::uint32_t i = 0; i < ring_.n_past; ++i) copy_row(sequence_.n_rows + i, row(sequence_.save_to + i));
    }

    const ShortConvArgs& args_;
    const StepSequence sequence_;
    const ConvRing ring_;
    const std::uint32_t n_embd_, begin_, end_;
};

}  // namespace

void run(const Context& context, const ShortConvArgs& args) {
    const std::uint32_t n_embd = args.out.n_cols;
    constexpr std::uint32_t kChannels = 256;  // a piece of work; channels are independent
    const std::uint32_t n_pieces = (n_embd + kChannels - 1) / kChannels;
    const auto n_sequences = static_cast<std::uint32_t>(context.step.n_sequences());
    context.team.for_each(n_pieces * n_sequences, [&](std::uint32_t item) {
        const std::uint32_t begin = item % n_pieces * kChannels;
        Piece(args, context.step.sequence(item / n_pieces), begin, std::min(n_embd, begin + kChannels)).run();
    });
}

}  // namespace lfm::cpu
