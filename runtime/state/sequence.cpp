#include "runtime/state/sequence.h"

#include <algorithm>
#include <string>
#include <utility>

#include "memory/error.h"

namespace lfm {

Sequence::Sequence(StatePool& pool, std::uint32_t n_ctx) : pool_(&pool), n_lost_(pool.n_lost()) {
    tokens_.reserve(n_ctx);
    pages_.reserve(n_kv_pages(n_ctx));
}

Sequence::Sequence(Sequence&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)),
      tokens_(std::move(other.tokens_)),
      pages_(std::move(other.pages_)),
      ring_(other.ring_),
      page_copy_(other.page_copy_),
      n_lost_(other.n_lost_),
      n_computed_(other.n_computed_),
      n_written_(other.n_written_),
      window_(other.window_) {}

Sequence& Sequence::operator=(Sequence&& other) noexcept {
    std::swap(pool_, other.pool_);
    std::swap(tokens_, other.tokens_);
    std::swap(pages_, other.pages_);
    std::swap(ring_, other.ring_);
    std::swap(page_copy_, other.page_copy_);
    std::swap(n_lost_, other.n_lost_);
    std::swap(n_computed_, other.n_computed_);
    std::swap(n_written_, other.n_written_);
    std::swap(window_, other.window_);
    return *this;
}

void Sequence::release_copied() noexcept {
    if (page_copy_) pool_->pages().release(page_copy_->from);
    page_copy_.reset();
}

/// The last ones first: a sequence that is alone always finds page i as its i-th.
void Sequence::release_pages(std::size_t n_kept) noexcept {
    for (; pages_.size() > n_kept; pages_.pop_back()) {
        if (page_copy_ && page_copy_->to == pages_.back()) release_copied();
        pool_->pages().release(pages_.back());
    }
}

void Sequence::give_back() noexcept {
    release_pages(0);
    if (ring_) pool_->return_ring(*ring_);
    ring_.reset();
    n_computed_ = n_written_ = 0;
    window_ = {};
}

/// When the pool has lost what was computed.
void Sequence::begin_anew() {
    if (n_lost_ == pool_->n_lost()) return;
    n_lost_ = pool_->n_lost();
    release_pages(0);  // those that others hold too are to be written by one only
    n_computed_ = n_written_ = 0;
    window_ = {};
}

bool Sequence::reserve(std::uint32_t n_rows) {
    begin_anew();
    PagePool& pool = pool_->pages();
    const std::uint32_t first = std::max(n_computed_, n_written_);  // token to write
    const std::uint32_t n_pages = n_kv_pages(n_computed_ + n_rows), n_in_last = first % kKvPageTokens;
    const std::size_t n_missing = n_pages - std::min<std::size_t>(n_pages, pages_.size());
    const bool is_shared =
        n_in_last > 0 && n_computed_ + n_rows > first && pool.n_users(pages_[first / kKvPageTokens]) > 1;
    if (n_missing + is_shared > pool.n_free()) return false;
    if (!ring_) ring_ = pool_->take_ring();
    if (!ring_) return false;
    if (is_shared) {  // goes on in a page of its own
        release_copied();
        PageId& page = pages_[first / kKvPageTokens];
        const PageId own = *pool.take();
        page_copy_ = PageCopy{std::exchange(page, own), own, n_in_last};
    }
    for (std::size_t i = 0; i < n_missing; ++i) pages_.push_back(*pool.take());
    return true;
}

bool Sequence::begin_from(const PrefixHit& hit) {
    begin_anew();
    if (!ring_ && !hit.pages.empty()) ring_ = pool_->take_ring();
    if (!ring_ || hit.pages.empty()) {
        for (const PageId page : hit.pages) pool_->pages().release(page);
        return false;
    }
    release_pages(0);
    pages_.insert(pages_.end(), hit.pages.begin(), hit.pages.end());
    n_written_ = hit.n_tokens;
    n_computed_ = hit.n_saved();
    window_ = {.slot = 0, .from = hit.snapshot ? WindowFrom::kSaved : WindowFrom::kZeros};
    if (hit.snapshot) window_.saved = pool_->saved_row(*hit.snapshot);
    return true;
}

StepSequence Sequence::next(std::uint32_t first_row, std::uint32_t n_rows) const {
    const std::uint32_t position = n_computed();
    const Window window = n_lost_ == pool_->n_lost() ? window_ : Window{};
    const std::uint32_t n_written = n_lost_ == pool_->n_lost() ? n_written_ : 0;
    return {.first_row = first_row,
            .n_rows = n_rows,
            .position = position,
            .n_replayed = std::min(n_written > position ? n_written - position : 0, n_rows),
            .pages = pool_->sizes().is_paged() ? pages_.data() : nullptr,
            .ring = ring_.value_or(0),
            .window = window.slot,
            .window_from = window.from,
            .saved = window.saved};
}

void Sequence::commit(std::span<const std::int32_t> step, std::uint32_t n_accepted) {
    const auto n_rows = static_cast<std::uint32_t>(step.size());
    const ConvRing ring = pool_->ring();
    if (n_accepted > n_rows || n_accepted < ring.least_accepted(n_rows))
        throw Error(ErrorCode::kUsage, "commit",
                    "expected " + std::to_string(ring.least_accepted(n_rows)) + " to " + std::to_string(n_rows) +
                        " of a step's tokens, found " + std::to_string(n_accepted));
    const StepSequence was = next(0, n_rows);
    release_copied();
    n_lost_ = pool_->n_lost();
    n_computed_ = was.position + n_accepted;
    n_written_ = n_accepted < n_rows ? n_computed_ : std::max(n_written_, n_computed_);
    window_ = {.slot = ring.after(was.window, n_rows, n_accepted)};
    const auto n_known = std::min<std::size_t>(tokens_.size() - was.position, n_accepted);
    tokens_.insert(tokens_.end(), step.begin() + static_cast<std::ptrdiff_t>(n_known), step.begin() + n_accepted);
}

void Sequence::clear() {
    tokens_.clear();
    release_pages(0);
    n_computed_ = n_written_ = 0;
    window_ = {};
}

void Sequence::append(std::int32_t token) { tokens_.push_back(token); }

void Sequence::assign(std::span<const std::int32_t> tokens) {
    clear();
    tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
}

std::vector<std::int32_t> Sequence::take_tokens() {
    std::vector<std::int32_t> tokens = std::exchange(tokens_, {});
    clear();
    return tokens;
}

void Sequence::cut(std::uint32_t n, std::uint32_t n_replay) {
    if (n >= tokens_.size()) return;
    tokens_.resize(n);
    begin_anew();
    if (n >= n_computed_) return;
    release_pages(n_kv_pages(n));
    n_written_ = n;
    n_computed_ = n - std::min(n, n_replay);
    window_ = {.slot = 0, .from = n_computed_ > 0 ? WindowFrom::kZeros : WindowFrom::kRing};
}

Checkpoint Sequence::checkpoint() const {
    Checkpoint checkpoint{n_computed(), std::vector<float>(pool_->n_window_floats())};
    if (ring_) pool_->read_windows(*ring_, window_.slot, checkpoint.windows);
    return checkpoint;
}

void Sequence::restore(const Checkpoint& checkpoint) {
    if (checkpoint.position > tokens_.size())
        throw Error(ErrorCode::kInvalidInput, "checkpoint",
                    "expected a position up to " + std::to_string(tokens_.size()) + ", found " +
                        std::to_string(checkpoint.position));
    tokens_.resize(checkpoint.position);
    if (n_computed() < checkpoint.position) return;  // keys and values before it are gone too
    if (ring_) pool_->write_windows(*ring_, checkpoint.windows);
    release_pages(n_kv_pages(checkpoint.position));
    n_computed_ = n_written_ = checkpoint.position;
    window_ = {};
}

}  // namespace lfm
