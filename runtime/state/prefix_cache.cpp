#include "runtime/state/prefix_cache.h"

#include <algorithm>

namespace lfm {
namespace {

std::uint32_t n_common(std::span<const std::int32_t> a, std::span<const std::int32_t> b) {
    const auto [end, ignored] = std::ranges::mismatch(a, b);
    return static_cast<std::uint32_t>(end - a.begin());
}

}  // namespace

PrefixCache::PrefixCache(PagePool& pool, std::uint32_t n_snapshots, std::uint32_t n_replay)
    : pool_(pool), n_replay_(n_replay) {
    for (SnapshotId id = n_snapshots; id > 0; --id) free_snapshots_.push_back(id - 1);
}

std::vector<PrefixCache::Node*>& PrefixCache::children(Node* parent, std::uint64_t scope) {
    return parent != nullptr ? parent->children : roots_[scope];
}

const std::vector<PrefixCache::Node*>* PrefixCache::children(const Node* parent, std::uint64_t scope) const {
    if (parent != nullptr) return &parent->children;
    const auto found = roots_.find(scope);
    return found == roots_.end() ? nullptr : &found->second;
}

/// The way that has most of these tokens.
PrefixCache::Path PrefixCache::walk(std::span<const std::int32_t> tokens, std::uint64_t scope) const {
    Path path;
    Node* node = nullptr;
    while (path.n_tokens < tokens.size()) {
        const auto* const next = children(node, scope);
        if (next == nullptr) break;
        const auto rest = tokens.subspan(path.n_tokens);
        std::uint32_t most = 0;
        for (Node* child : *next)
            if (const std::uint32_t n = n_common(child->tokens, rest); n > most) {
                most = n;
                node = child;
            }
        if (most == 0) break;
        path.nodes.push_back(node);
        path.n_tokens += most;
        if (most < kKvPageTokens) break;
    }
    return path;
}

/// From where the windows at the path's end are to be computed: the latest snapshot, unless it is further away than
/// need be.
PrefixCache::Start PrefixCache::start_of(const Path& path) const {
    Start start{std::min(n_replay_, path.n_tokens), nullptr};
    for (std::size_t i = path.nodes.size(); i-- > 0;) {
        const auto first = static_cast<std::uint32_t>(i) * kKvPageTokens;
        if (path.n_tokens - first > start.n_replay + kKvPageTokens) break;
        for (Saved& saved : path.nodes[i]->saved) {
            const std::uint32_t at = first + saved.n_tokens;
            if (at <= path.n_tokens && path.n_tokens - at <= start.n_replay &&
                (start.saved == nullptr || path.n_tokens - at < start.n_replay))
                start = {path.n_tokens - at, &saved};
        }
    }
    return start;
}

PrefixHit PrefixCache::find(std::span<const std::int32_t> prompt, std::uint64_t scope) {
    const Path path = walk(prompt.first(prompt.size() - std::min<std::size_t>(1, prompt.size())), scope);
    const Start start = start_of(path);
    if (start.n_replay >= path.n_tokens) return {};
    PrefixHit hit{.n_tokens = path.n_tokens, .pages = {}, .n_replay = start.n_replay, .snapshot = {}};
    for (const Node* node : path.nodes) {
        pool_.share(node->page);
        hit.pages.push_back(node->page);
    }
    touch(path.nodes.back());
    if (start.saved != nullptr) {
        start.saved->last_use = n_uses_;
        hit.snapshot = start.saved->id;
        pinned_.push_back(start.saved->id);
    }
    return hit;
}

std::uint32_t PrefixCache::n_saved(std::span<const std::int32_t> prompt, std::uint64_t scope) const {
    const Path path = walk(prompt.first(prompt.size() - std::min<std::size_t>(1, prompt.size())), scope);
    return path.n_tokens - std::min(path.n_tokens, start_of(path).n_replay);
}

/// Used now, and with it all before it.
void PrefixCache::touch(Node* node) {
    ++n_uses_;
    for (; node != nullptr; node = node->parent) used_.splice(used_.begin(), used_, node->self);
}

void PrefixCache::add(std::span<const std::int32_t> tokens, std::span<const PageId> pages, std::uint64_t scope) {
    Node* node = nullptr;
    for (std::size_t i = 0; i * kKvPageTokens < tokens.size(); ++i) {
        const auto part = tokens.subspan(i * kKvPageTokens)
                              .first(std::min<std::size_t>(kKvPageTokens, tokens.size() - i * kKvPageTokens));
        std::vector<Node*>& siblings = children(node, scope);
        const auto known = std::ranges::find_if(siblings, [&](const Node* child) {
            return child->tokens.size() >= part.size() && n_common(child->tokens, part) == part.size();
        });
        if (known != siblings.end()) {
            node = *known;
            continue;
        }
        used_.push_front({.parent = node,
                          .scope = scope,
                          .tokens = {part.begin(), part.end()},
                          .page = pages[i],
                          .children = {},
                          .saved = {},
                          .self = {}});
        Node& added = used_.front();
        added.self = used_.begin();
        pool_.share(added.page);
        // A page of fewer of these tokens says nothing that this one does not.
        std::vector<Node*> shorter;
        for (Node* child : siblings)
            if (child->tokens.size() < part.size() && n_common(child->tokens, part) == child->tokens.size())
                shorter.push_back(child);
        for (Node* child : shorter) {
            added.saved.insert(added.saved.end(), child->saved.begin(), child->saved.end());
            child->saved.clear();
            remove(*child);
        }
        children(node, scope).push_back(&added);
        node = &added;
    }
    if (node != nullptr) touch(node);
}

std::optional<SnapshotId> PrefixCache::take_snapshot() {
    if (free_snapshots_.empty()) {
        Node* holder = nullptr;
        std::size_t oldest = 0;
        for (Node& node : used_)
            for (std::size_t i = 0; i < node.saved.size(); ++i)
                if (!is_pinned(node.saved[i].id) &&
                    (holder == nullptr || node.saved[i].last_use < holder->saved[oldest].last_use)) {
                    holder = &node;
                    oldest = i;
                }
        if (holder == nullptr) return std::nullopt;
        free_snapshots_.push_back(holder->saved[oldest].id);
        holder->saved.erase(holder->saved.begin() + static_cast<std::ptrdiff_t>(oldest));
    }
    const SnapshotId id = free_snapshots_.back();
    free_snapshots_.pop_back();
    return id;
}

bool PrefixCache::add_snapshot(SnapshotId id, std::span<const std::int32_t> tokens, std::uint64_t scope) {
    const Path path = walk(tokens, scope);
    if (!tokens.empty() && path.n_tokens == tokens.size()) {
        Node& node = *path.nodes.back();
        const auto n = static_cast<std::uint32_t>(tokens.size() - (path.nodes.size() - 1) * kKvPageTokens);
        if (std::ranges::find(node.saved, n, &Saved::n_tokens) == node.saved.end()) {
            node.saved.push_back({n, id, ++n_uses_});
            return true;
        }
    }
    return_snapshot(id);
    return false;
}

bool PrefixCache::is_pinned(SnapshotId id) const { return std::ranges::find(pinned_, id) != pinned_.end(); }

void PrefixCache::end_step() {
    pinned_.clear();
    free_snapshots_.insert(free_snapshots_.end(), forgotten_.begin(), forgotten_.end());
    forgotten_.clear();
}

/// A leaf.
void PrefixCache::remove(Node& node) {
    std::vector<Node*>& siblings = children(node.parent, node.scope);
    std::erase(siblings, &node);
    if (node.parent == nullptr && siblings.empty()) roots_.erase(node.scope);
    for (const Saved& saved : node.saved) (is_pinned(saved.id) ? forgotten_ : free_snapshots_).push_back(saved.id);
    pool_.release(node.page);
    used_.erase(node.self);
}

bool PrefixCache::free_pages(std::uint32_t n) {
    for (auto node = used_.end(); pool_.n_free() < n && node != used_.begin();) {
        --node;
        if (pool_.n_users(node->page) > 1 || !node->children.empty()) continue;
        const auto next = std::next(node);
        remove(*node);
        node = next;
    }
    return pool_.n_free() >= n;
}

bool PrefixCache::forget(PageId page) {
    const auto node = std::ranges::find(used_, page, &Node::page);
    if (node == used_.end() || !node->children.empty()) return false;
    remove(*node);
    return true;
}

std::uint32_t PrefixCache::n_unused() const {
    return static_cast<std::uint32_t>(
        std::ranges::count_if(used_, [&](const Node& node) { return pool_.n_users(node.page) == 1; }));
}

void PrefixCache::clear() {
    while (!used_.empty()) remove(used_.back());  // children come after their parents
}

}  // namespace lfm
