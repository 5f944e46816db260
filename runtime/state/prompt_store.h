// Prefixes that outlive the process: a folder of files, each with a text's tokens, their keys and values, and the
// windows of convolutions behind them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "memory/units.h"
#include "runtime/state/prefix_cache.h"
#include "runtime/state/state_pool.h"

namespace lfm {

struct PromptStoreOptions {
    std::filesystem::path folder;
    /// Of model and arithmetic: files of another identity are neither read nor replaced.
    std::string identity;
    Bytes limit{std::uint64_t{4} << 30};  // of all files: the longest unused are removed
};

/// Files are written whole or not at all, for their owner alone, as they hold what people wrote. Whatever is wrong with
/// one is a remark, not an error. Several processes may use the folder.
class PromptStore {
public:
    /// Makes the folder where there is none and reads the heads of its files. Throws Error{kIo} when the folder cannot
    /// be made or read, Error{kUsage} for an empty path.
    explicit PromptStore(PromptStoreOptions options);

    /// Puts what a file has of the prompt, without its last token, into the pool and the cache, when that is at least a
    /// page more than the cache has. Returns of how many tokens; 0: of none. The device must be idle.
    std::uint32_t load(std::span<const std::int32_t> prompt, std::uint64_t scope, StatePool& pool, PrefixCache& cache);
    /// Writes computed tokens with their pages and the saved windows behind them, unless a file has them. Files of
    /// beginnings of them are removed. Returns whether it did.
    bool store(std::span<const std::int32_t> tokens, std::uint64_t scope, std::span<const PageId> pages,
               SnapshotId windows, StatePool& pool);

    std::size_t n_files() const { return entries_.size(); }
    /// What went wrong since the last call, one sentence each.
    std::vector<std::string> take_remarks() { return std::exchange(remarks_, {}); }

private:
    struct Entry {
        std::filesystem::path path;
        std::uint64_t scope = 0;
        std::vector<std::int32_t> tokens;
    };
    struct Content;

    std::optional<Content> read(const std::filesystem::path& path) const;
    void forget(std::size_t entry, const std::string& why);
    bool make_room(std::uint64_t n_bytes);
    bool write(const std::filesystem::path& path, std::span<const std::int32_t> tokens, std::uint64_t scope,
               std::span<const PageId> pages, SnapshotId windows, StatePool& pool);

    PromptStoreOptions options_;
    std::vector<Entry> entries_;
    std::vector<std::string> remarks_;
};

}  // namespace lfm
