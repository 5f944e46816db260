// One sequence: its tokens, and how far its state in the pool has come.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "backends/step_params.h"
#include "runtime/tensors/state_pool.h"

namespace lfm {

/// A place to return to: the rings' windows, copied. Keys and values before `position` stay where they are.
struct Checkpoint {
    std::uint32_t position = 0;
    std::vector<float> windows;  // of all conv layers
};

/// Move-only; the pool outlives it. What steps have computed is in the pool: when that has lost it (StatePool::n_lost)
/// it is to be computed again from the tokens.
class Sequence {
public:
    /// Throws Error{kShortfall} when the pool has no page. Room for n_ctx tokens is taken.
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
    /// Of the first tokens: how many the next step follows.
    std::uint32_t n_computed() const { return n_lost_ == pool_->n_lost() ? n_computed_ : 0; }
    /// As many rows as a step's, from its first on.
    StepSequence next(std::uint32_t n_rows) const;
    /// After a step of these tokens: the first n_accepted, all unless SessionSizes::n_rewind allows less, stay. Those
    /// the sequence lacks are appended. Throws Error{kUsage} when more would be taken back than may be.
    void commit(std::span<const std::int32_t> step, std::uint32_t n_accepted);

    void clear();
    /// Another's tokens, to be computed here.
    void assign(std::span<const std::int32_t> tokens);
    std::vector<std::int32_t> take_tokens() { return std::exchange(tokens_, {}); }

    /// All tokens are computed. A device must be idle.
    Checkpoint checkpoint() const;
    /// Forgets what comes after the checkpoint, which was taken of this sequence and since it was last cleared. Throws
    /// Error{kInvalidInput} when the sequence is shorter.
    void restore(const Checkpoint& checkpoint);

private:
    StatePool* pool_;
    std::vector<std::int32_t> tokens_;
    std::uint64_t n_lost_ = 0;
    std::uint32_t n_computed_ = 0;
    std::uint32_t window_ = 0;
};

}  // namespace lfm
