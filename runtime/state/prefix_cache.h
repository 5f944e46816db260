// Finds what a new prompt has in common with what was computed before: a tree of pages, each found by its parent and
// its tokens. Only bookkeeping; whoever holds a page here is one of its users in the PagePool.
//
// Keys and values can be shared up to any token. Convolutions need the rows before it too: their windows are saved at
// some places (snapshots); from the nearest one, or from nothing, tokens are computed once more, up to
// (l_cache − 1) × conv layers of them, with attention reading the keys that are there. After so many the windows are
// exact: a convolution's row depends on l_cache rows of the layer before, and on nothing else.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "backends/needs/kv_pages.h"
#include "runtime/state/page_pool.h"

namespace lfm {

/// Which saved windows of convolutions.
using SnapshotId = std::uint32_t;

struct PrefixHit {
    std::uint32_t n_tokens = 0;          // of the prompt whose keys and values are there
    std::vector<PageId> pages;           // that hold them; the last may be used in part. Shared: release them
    std::uint32_t n_replay = 0;          // of n_tokens, the last ones, to be computed again for their windows
    std::optional<SnapshotId> snapshot;  // the windows before those; nothing: zeros. Stays until end_step()

    /// Tokens that need not be computed.
    std::uint32_t n_saved() const { return n_tokens - n_replay; }
};

class PrefixCache {
public:
    /// `n_replay`: (l_cache − 1) × conv layers. The pool outlives it.
    PrefixCache(PagePool& pool, std::uint32_t n_snapshots, std::uint32_t n_replay);
    PrefixCache(const PrefixCache&) = delete;
    PrefixCache& operator=(const PrefixCache&) = delete;
    ~PrefixCache() { clear(); }

    /// The longest beginning of the prompt, without its last token, that saves something; empty when none does.
    /// Prompts of different scopes share nothing.
    PrefixHit find(std::span<const std::int32_t> prompt, std::uint64_t scope = 0);
    /// As find saves, without sharing anything or being counted as a use.
    std::uint32_t n_saved(std::span<const std::int32_t> prompt, std::uint64_t scope = 0) const;

    /// Tokens and the pages that hold them, all computed. Pages that are known by their tokens are not taken again.
    void add(std::span<const std::int32_t> tokens, std::span<const PageId> pages, std::uint64_t scope = 0);
    /// Where a step may save windows: a free one, else the one that was longest without use, which is forgotten.
    /// Nothing when there is none, or all are in use.
    std::optional<SnapshotId> take_snapshot();
    /// It holds the windows behind these tokens now. Free again, and false, when add() does not know them, or they have
    /// one.
    bool add_snapshot(SnapshotId id, std::span<const std::int32_t> tokens, std::uint64_t scope = 0);
    /// The step did not run.
    void return_snapshot(SnapshotId id) { free_snapshots_.push_back(id); }
    /// The steps that begin with snapshots that find() named have run: these may be used anew.
    void end_step();

    /// Gives pages up that nobody else uses, longest without use first, until so many are free in the pool. Returns
    /// whether.
    bool free_pages(std::uint32_t n);
    /// Gives this page up, if it is the last of what was added and holds it. Returns whether.
    bool forget(PageId page);
    /// How many free_pages could free.
    std::uint32_t n_unused() const;
    std::uint32_t n_nodes() const { return static_cast<std::uint32_t>(used_.size()); }
    void clear();

private:
    struct Node;
    using Nodes = std::list<Node>;
    struct Saved {
        std::uint32_t n_tokens = 0;  // of the node's page, before the windows' end
        SnapshotId id = 0;
        std::uint64_t last_use = 0;
    };
    struct Node {
        Node* parent = nullptr;
        std::uint64_t scope = 0;
        std::vector<std::int32_t> tokens;  // kKvPageTokens; fewer only in a leaf
        PageId page = 0;
        std::vector<Node*> children;
        std::vector<Saved> saved;
        Nodes::iterator self;
    };
    /// A way through the tree: whole pages, then a part of one more.
    struct Path {
        std::vector<Node*> nodes;
        std::uint32_t n_tokens = 0;
    };

    std::vector<Node*>& children(Node* parent, std::uint64_t scope);
    const std::vector<Node*>* children(const Node* parent, std::uint64_t scope) const;
    Path walk(std::span<const std::int32_t> tokens, std::uint64_t scope) const;
    struct Start {
        std::uint32_t n_replay = 0;
        Saved* saved = nullptr;
    };
    Start start_of(const Path& path) const;
    void touch(Node* node);
    void remove(Node& node);
    bool is_pinned(SnapshotId id) const;

    PagePool& pool_;
    std::uint32_t n_replay_;
    std::uint64_t n_uses_ = 0;
    Nodes used_;  // by use, the latest first; a parent comes before its children
    std::unordered_map<std::uint64_t, std::vector<Node*>> roots_;  // by scope
    std::vector<SnapshotId> free_snapshots_;
    std::vector<SnapshotId> pinned_;     // that steps begin with
    std::vector<SnapshotId> forgotten_;  // of these: free when the step has run
};

}  // namespace lfm
