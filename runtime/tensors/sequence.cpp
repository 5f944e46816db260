#include "runtime/tensors/sequence.h"

#include <algorithm>
#include <string>

#include "memory/error.h"

namespace lfm {

Sequence::Sequence(StatePool& pool, std::uint32_t n_ctx) : pool_(nullptr), n_lost_(pool.n_lost()) {
    tokens_.reserve(n_ctx);
    pool.take_page();
    pool_ = &pool;
}

StepSequence Sequence::next(std::uint32_t n_rows) const {
    const std::uint32_t position = n_computed();
    return {.first_row = 0, .n_rows = n_rows, .position = position, .window = position > 0 ? window_ : 0};
}

void Sequence::commit(std::span<const std::int32_t> step, std::uint32_t n_accepted) {
    const auto n_rows = static_cast<std::uint32_t>(step.size());
    const ConvRing ring = pool_->ring();
    if (n_accepted > n_rows || n_accepted < ring.least_accepted(n_rows))
        throw Error(ErrorCode::kUsage, "commit",
                    "expected " + std::to_string(ring.least_accepted(n_rows)) + " to " + std::to_string(n_rows) +
                        " of a step's tokens, found " + std::to_string(n_accepted));
    const StepSequence was = next(n_rows);
    n_lost_ = pool_->n_lost();
    n_computed_ = was.position + n_accepted;
    window_ = ring.after(was.window, n_rows, n_accepted);
    const auto n_known = std::min<std::size_t>(tokens_.size() - was.position, n_accepted);
    tokens_.insert(tokens_.end(), step.begin() + static_cast<std::ptrdiff_t>(n_known), step.begin() + n_accepted);
}

void Sequence::clear() {
    tokens_.clear();
    n_computed_ = 0;
}

void Sequence::assign(std::span<const std::int32_t> tokens) {
    clear();
    tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
}

Checkpoint Sequence::checkpoint() const {
    Checkpoint checkpoint{n_computed(), std::vector<float>(pool_->n_window_floats())};
    pool_->read_windows(window_, checkpoint.windows);
    return checkpoint;
}

void Sequence::restore(const Checkpoint& checkpoint) {
    if (checkpoint.position > tokens_.size())
        throw Error(ErrorCode::kInvalidInput, "checkpoint",
                    "expected a position up to " + std::to_string(tokens_.size()) + ", found " +
                        std::to_string(checkpoint.position));
    tokens_.resize(checkpoint.position);
    if (n_computed() < checkpoint.position) return;  // keys and values before it are gone too
    pool_->write_windows(checkpoint.windows);
    n_computed_ = checkpoint.position;
    window_ = 0;
}

}  // namespace lfm
