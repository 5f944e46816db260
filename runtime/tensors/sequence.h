// One sequence: its tokens, and how many of them its state in the pool covers.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "backends/step_params.h"
#include "runtime/tensors/state_pool.h"

namespace lfm {

/// A position to return to, with a copy of the rings' windows. Keys and values before `position` stay where they are.
struct Checkpoint {
    std::uint32_t position = 0;
    std::vector<float> windows;  // of all conv layers
};

/// Move-only; the pool outlives it. What steps have computed is in the pool: when the pool has lost it
/// (StatePool::n_lost), it must be computed again from the tokens.
class Sequence {
public:
    /// Reserves room for n_ctx tokens. Throws Error{kShortfall} when the pool has no free page.
    Sequence(StatePool& pool, std::uint32_t n_ctx);
    Sequence(Sequence&& other) noexcept
        : pool_(std::exchange(other.pool_, nullptr)),
          tokens_(std::move(other.tokens_)),
          n_lost_(other.n_lost_),
          n_computed_(other.n_computed_),
          window_(other.window_) {}
    Sequence& operator=(Sequence&& other) noexcept {
        std::swap(pool_, other.pool_);
        std::swap(tokens_, other.tokens_);
        std::swap(n_lost_, other.n_lost_);
        std::swap(n_computed_, other.n_computed_);
        std::swap(window_, other.window_);
        return *this;
    }
    ~Sequence() {
        if (pool_ != nullptr) pool_->return_page();
    }

    std::span<const std::int32_t> tokens() const { return tokens_; }
    /// How many of the first tokens are computed: the position of the next step's first token.
    std::uint32_t n_computed() const { return n_lost_ == pool_->n_lost() ? n_computed_ : 0; }
    /// Describes the next step when all its n_rows rows are this sequence's.
    StepSequence next(std::uint32_t n_rows) const;
    /// After a step of these tokens: the first n_accepted stay, the others are taken back, which is always possible for
    /// up to SessionSizes::n_rewind of them. Those that stay and that tokens() lacks are appended. Throws Error{kUsage}
    /// when more would be taken back than the ring of conv rows allows.
    void commit(std::span<const std::int32_t> step, std::uint32_t n_accepted);

    void clear();
    /// Replaces the tokens by those of another sequence, none of them computed yet.
    void assign(std::span<const std::int32_t> tokens);
    std::vector<std::int32_t> take_tokens() { return std::exchange(tokens_, {}); }

    /// Of the present position. All tokens must be computed, and the device idle.
    Checkpoint checkpoint() const;
    /// Forgets what comes after the checkpoint, which must have been taken of this sequence after it was last cleared.
    /// Throws Error{kInvalidInput} when the sequence is shorter.
    void restore(const Checkpoint& checkpoint);

private:
    StatePool* pool_;
    std::vector<std::int32_t> tokens_;
    std::uint64_t n_lost_ = 0;
    std::uint32_t n_computed_ = 0;
    std::uint32_t window_ = 0;
};

}  // namespace lfm
