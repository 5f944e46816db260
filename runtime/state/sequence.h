// One sequence: its tokens, and how many of them its state in the pool covers.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "backends/step_params.h"
#include "runtime/state/prefix_cache.h"
#include "runtime/state/state_pool.h"

namespace lfm {

/// A position to return to, with a copy of the rings' windows. Keys and values before `position` stay where they are.
struct Checkpoint {
    std::uint32_t position = 0;
    std::vector<float> windows;  // of all conv layers
};

/// Move-only; the pool outlives it. What steps have computed is in the pool: when the pool has lost it
/// (StatePool::n_lost), or the sequence has given it back, it must be computed again from the tokens.
class Sequence {
public:
    /// Has no state yet. Reserves room for n_ctx tokens and for the table of their pages.
    Sequence(StatePool& pool, std::uint32_t n_ctx);
    Sequence(Sequence&& other) noexcept;
    Sequence& operator=(Sequence&& other) noexcept;
    ~Sequence() {
        if (pool_ != nullptr) give_back();
    }

    std::span<const std::int32_t> tokens() const { return tokens_; }
    /// How many of the first tokens are computed: the position of the next step's first token.
    std::uint32_t n_computed() const { return n_lost_ == pool_->n_lost() ? n_computed_ : 0; }
    /// The first tokens whose keys and values are in the pages: those it computed, and those that it shares.
    std::span<const PageId> pages() const { return pages_; }

    /// Takes what the next n_rows rows need: a ring, pages, one to go on in when the last is shared. False, and no page
    /// taken, when the pool lacks them.
    bool reserve(std::uint32_t n_rows);
    /// Begins, without state or tokens computed, where the cache has the beginning of its tokens. Takes the hit's
    /// pages over; releases them and returns false when the pool lacks a ring, or the hit is empty.
    bool begin_from(const PrefixHit& hit);
    /// Gives ring and pages back; tokens stay.
    void give_back() noexcept;

    /// Describes its part of the next step: n_rows rows, of the step's from first_row on, for which reserve() was
    /// called.
    StepSequence next(std::uint32_t first_row, std::uint32_t n_rows) const;
    /// That the next step begins with.
    const std::optional<PageCopy>& page_copy() const { return page_copy_; }
    /// After a step of these tokens: the first n_accepted stay, the others are taken back, which is always possible for
    /// up to SessionSizes::n_rewind of them. Those that stay and that tokens() lacks are appended. Throws Error{kUsage}
    /// when more would be taken back than the ring of conv rows allows.
    void commit(std::span<const std::int32_t> step, std::uint32_t n_accepted);

    /// A token to be computed after the others.
    void append(std::int32_t token);
    void clear();
    /// Replaces the tokens, by another sequence's or by a prompt's; none of them is computed yet.
    void assign(std::span<const std::int32_t> tokens);
    std::vector<std::int32_t> take_tokens();
    /// Forgets all but the first n tokens. Up to n_replay of those are computed again, with the keys and values that
    /// are there: (l_cache − 1) × conv layers give the windows of any place exactly.
    void cut(std::uint32_t n, std::uint32_t n_replay);

    /// Of the present position. All tokens must be computed, the last by a step since begin_from() or cut(), and the
    /// device idle.
    Checkpoint checkpoint() const;
    /// Forgets what comes after the checkpoint, which must have been taken of this sequence after it was last cleared.
    /// Throws Error{kInvalidInput} when the sequence is shorter.
    void restore(const Checkpoint& checkpoint);

private:
    /// What is before the next step's first row, for a pool that has lost nothing since.
    struct Window {
        std::uint32_t slot = 0;
        WindowFrom from = WindowFrom::kRing;
        std::uint32_t saved = 0;
    };
    void release_pages(std::size_t n_kept) noexcept;
    void release_copied() noexcept;
    void begin_anew();

    StatePool* pool_;
    std::vector<std::int32_t> tokens_;
    std::vector<PageId> pages_;          // room for those of n_ctx is reserved
    std::optional<std::uint32_t> ring_;  // its first row
    std::optional<PageCopy> page_copy_;  // whose source it holds until the step
    std::uint64_t n_lost_ = 0;
    std::uint32_t n_computed_ = 0;
    std::uint32_t n_written_ = 0;  // tokens whose keys and values are there; more than n_computed: rows are done again
    Window window_;
};

}  // namespace lfm
