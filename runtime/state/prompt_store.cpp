#include "runtime/state/prompt_store.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <utility>

#include "memory/error.h"
#include "memory/fnv1a.h"
#include "memory/mapped_file.h"
#include "memory/output_file.h"

namespace lfm {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kExtension = ".lfmprefix";
constexpr char kMagic[8] = {'L', 'F', 'M', 'P', 'R', 'E', 'F', 'X'};
constexpr std::uint32_t kVersion = 1, kByteOrder = 0x01020304;
constexpr std::uint32_t kMaxIdentity = 4096;
constexpr std::size_t kMaxFiles = 65536;
// Fewer tokens are computed sooner than they are looked for.
constexpr std::uint32_t kFewestStored = 2 * kKvPageTokens;

/// Then the identity, the tokens, keys and values, and windows, each filled up to a multiple of eight bytes.
struct Head {
    char magic[8];
    std::uint32_t version, byte_order;
    std::uint32_t n_identity, n_tokens;
    std::uint64_t scope, n_kv_bytes, n_window_floats;
    std::uint64_t sum;  // of all bytes behind the head
};
static_assert(sizeof(Head) == 56);

constexpr std::uint64_t filled_up(std::uint64_t n) { return (n + 7) / 8 * 8; }

/// In words of 32 bits, however the bytes are cut into pieces.
class Sum {
public:
    void add(std::span<const std::byte> bytes) {
        for (; n_pending_ > 0 && !bytes.empty(); bytes = bytes.subspan(1)) add_byte(bytes.front());
        for (; bytes.size() >= 4; bytes = bytes.subspan(4)) {
            std::uint32_t word;
            std::memcpy(&word, bytes.data(), sizeof word);
            sum_.add(word);
        }
        for (const std::byte byte : bytes) add_byte(byte);
    }
    /// Of whole words.
    std::uint64_t value() const { return sum_.value(); }

private:
    void add_byte(std::byte byte) {
        pending_[n_pending_++] = byte;
        if (n_pending_ < 4) return;
        std::uint32_t word;
        std::memcpy(&word, pending_, sizeof word);
        sum_.add(word);
        n_pending_ = 0;
    }

    Fnv1a sum_;
    std::byte pending_[4];
    std::uint32_t n_pending_ = 0;
};

std::uint32_t n_common(std::span<const std::int32_t> a, std::span<const std::int32_t> b) {
    const auto [end, ignored] = std::ranges::mismatch(a, b);
    return static_cast<std::uint32_t>(end - a.begin());
}

/// From what tells the files of a folder apart.
std::string name_of(const std::string& identity, std::uint64_t scope, std::span<const std::int32_t> tokens) {
    Sum sum;
    sum.add(std::as_bytes(std::span(identity)));
    sum.add(std::as_bytes(std::span(&scope, 1)));
    sum.add(std::as_bytes(tokens));
    char text[17];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(sum.value()));
    return std::string(text) + std::string(kExtension);
}

/// The folder's files of ours, by the time of their last use, the latest last.
struct Found {
    fs::path path;
    fs::file_time_type used;
    std::uint64_t n_bytes = 0;
};
std::vector<Found> files_in(const fs::path& folder) {
    std::vector<Found> files;
    std::error_code failed;
    for (fs::directory_iterator at(folder, failed), end; !failed && at != end; at.increment(failed)) {
        std::error_code gone;
        if (at->path().extension() != kExtension || !at->is_regular_file(gone)) continue;
        const auto used = at->last_write_time(gone);
        const auto n_bytes = at->file_size(gone);
        if (!gone && files.size() < kMaxFiles) files.push_back({at->path(), used, n_bytes});
    }
    if (failed) throw Error(ErrorCode::kIo, folder.string(), failed.message());
    std::ranges::sort(files, {}, &Found::used);
    return files;
}

}  // namespace

/// A file as it is mapped; the spans are of its bytes.
struct PromptStore::Content {
    explicit Content(MappedFile mapped) : file(std::move(mapped)) {}

    MappedFile file;
    std::uint64_t scope = 0, sum = 0;
    std::span<const std::byte> body;  // all that is summed up
    std::span<const std::int32_t> tokens;
    std::span<const std::byte> kv;
    std::span<const float> windows;

    /// Reads all of it.
    bool is_sound() const {
        Sum found;
        found.add(body);
        return found.value() == sum && !file.change();
    }
};

PromptStore::PromptStore(PromptStoreOptions options) : options_(std::move(options)) {
    if (options_.folder.empty())
        throw Error(ErrorCode::kUsage, "prompt cache", "expected the path of a folder, found none");
    if (options_.identity.size() > kMaxIdentity) options_.identity.resize(kMaxIdentity);
    std::error_code failed;
    if (fs::create_directories(options_.folder, failed)) {
        fs::permissions(options_.folder, fs::perms::owner_all, failed);
    } else if (failed || !fs::is_directory(options_.folder, failed)) {
        throw Error(ErrorCode::kIo, options_.folder.string(), failed ? failed.message() : "expected a folder");
    }
    for (const Found& found : files_in(options_.folder)) {
        try {
            if (const std::optional<Content> content = read(found.path))
                entries_.push_back({found.path, content->scope, {content->tokens.begin(), content->tokens.end()}});
        } catch (const Error& error) {
            remarks_.push_back(found.path.string() + ": not used: " + error.message());
        }
    }
}

/// Nothing for another identity. Throws Error when it is no such file. The sum is not checked.
std::optional<PromptStore::Content> PromptStore::read(const fs::path& path) const {
    Content content{MappedFile::open(path)};
    std::span<const std::byte> rest = content.file.bytes();
    const auto damaged = [&](const char* what) { return Error(ErrorCode::kInvalidInput, path.string(), what); };
    Head head;
    if (rest.size() < sizeof head) throw damaged("expected a whole file, found less than a head");
    std::memcpy(&head, rest.data(), sizeof head);
    if (std::memcmp(head.magic, kMagic, sizeof kMagic) != 0) throw damaged("expected a stored prefix");
    if (head.version != kVersion || head.byte_order != kByteOrder) return std::nullopt;
    content.scope = head.scope;
    content.sum = head.sum;
    rest = content.body = rest.subspan(sizeof head);
    const auto take = [&](std::uint64_t n_bytes) {
        if (n_bytes > rest.size()) throw damaged("expected a whole file, found it cut");
        const auto part = rest.first(n_bytes);
        rest = rest.subspan(n_bytes);
        return part;
    };
    if (head.n_identity > kMaxIdentity) throw damaged("expected a shorter identity");
    const auto identity = take(filled_up(head.n_identity)).first(head.n_identity);
    if (std::string_view(reinterpret_cast<const char*>(identity.data()), identity.size()) != options_.identity)
        return std::nullopt;
    // Everything begins at a multiple of eight in a mapping that begins at a page.
    const auto tokens = take(filled_up(std::uint64_t{head.n_tokens} * sizeof(std::int32_t)));
    content.tokens = {reinterpret_cast<const std::int32_t*>(tokens.data()), head.n_tokens};
    if (head.n_kv_bytes > rest.size() || head.n_window_floats > rest.size()) throw damaged("expected a whole file");
    content.kv = take(filled_up(head.n_kv_bytes)).first(head.n_kv_bytes);
    const auto windows = take(filled_up(head.n_window_floats * sizeof(float)));
    content.windows = {reinterpret_cast<const float*>(windows.data()), head.n_window_floats};
    if (!rest.empty()) throw damaged("expected its end, found more");
    return content;
}

void PromptStore::forget(std::size_t entry, const std::string& why) {
    remarks_.push_back(entries_[entry].path.string() + ": not used: " + why);
    entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(entry));
}

std::uint32_t PromptStore::load(std::span<const std::int32_t> prompt, std::uint64_t scope, StatePool& pool,
                                PrefixCache& cache) {
    if (prompt.empty()) return 0;
    const auto wanted = prompt.first(prompt.size() - 1);
    std::size_t best = entries_.size();
    std::uint32_t n = 0;
    for (std::size_t i = 0; i < entries_.size(); ++i)
        if (const std::uint32_t same = entries_[i].scope == scope ? n_common(entries_[i].tokens, wanted) : 0;
            same > n) {
            n = same;
            best = i;
        }
    const bool is_whole = n > 0 && n == entries_[best].tokens.size();
    const std::uint32_t n_saved = n - std::min(n, is_whole ? 0 : pool.n_replay());
    if (n_saved < cache.n_saved(prompt, scope) + kKvPageTokens) return 0;

    std::optional<Content> content;
    try {
        content = read(entries_[best].path);
        const bool fits = content && content->tokens.size() == entries_[best].tokens.size() &&
                          content->kv.size() == pool.n_kv_bytes(static_cast<std::uint32_t>(content->tokens.size())) &&
                          content->windows.size() == pool.n_window_floats();
        if (!fits || !std::ranges::equal(content->tokens, entries_[best].tokens) || !content->is_sound()) {
            forget(best, "damaged");
            return 0;
        }
    } catch (const Error& error) {  // removed by another process, or unreadable
        forget(best, error.message());
        return 0;
    }
    const std::uint32_t n_pages = n_kv_pages(n);
    if (!cache.free_pages(n_pages)) return 0;
    std::vector<PageId> pages;
    for (std::uint32_t i = 0; i < n_pages; ++i) pages.push_back(*pool.pages().take());
    const auto tokens = wanted.first(n);
    std::optional<SnapshotId> snapshot;
    try {
        pool.write_kv(pages, n, content->kv, static_cast<std::uint32_t>(content->tokens.size()));
        if (is_whole) snapshot = cache.take_snapshot();
        if (snapshot) pool.write_saved(*snapshot, content->windows);
        cache.add(tokens, pages, scope);
        if (snapshot) cache.add_snapshot(*std::exchange(snapshot, std::nullopt), tokens, scope);
    } catch (const Error&) {  // a lost device: whoever steps next learns of it
        n = 0;
    }
    if (snapshot) cache.return_snapshot(*snapshot);
    for (const PageId page : pages) pool.pages().release(page);
    std::error_code ignored;
    fs::last_write_time(entries_[best].path, fs::file_time_type::clock::now(), ignored);
    return n;
}

/// False when that many bytes are more than the limit.
bool PromptStore::make_room(std::uint64_t n_bytes) {
    if (n_bytes > options_.limit.value) return false;
    const std::vector<Found> files = files_in(options_.folder);
    std::uint64_t n_held = n_bytes;
    for (const Found& file : files) n_held += file.n_bytes;
    for (const Found& file : files) {
        if (n_held <= options_.limit.value) break;
        std::error_code gone;
        fs::remove(file.path, gone);
        std::erase_if(entries_, [&](const Entry& entry) { return entry.path == file.path; });
        n_held -= file.n_bytes;
    }
    return true;
}

/// False when there is no room for it. Throws Error for a full disk or a lost device.
bool PromptStore::write(const fs::path& path, std::span<const std::int32_t> tokens, std::uint64_t scope,
                        std::span<const PageId> pages, SnapshotId windows, StatePool& pool) {
    const auto n = static_cast<std::uint32_t>(tokens.size());
    std::vector<float> floats(pool.n_window_floats());
    Head head{.magic = {},
              .version = kVersion,
              .byte_order = kByteOrder,
              .n_identity = static_cast<std::uint32_t>(options_.identity.size()),
              .n_tokens = n,
              .scope = scope,
              .n_kv_bytes = pool.n_kv_bytes(n),
              .n_window_floats = floats.size(),
              .sum = 0};
    std::memcpy(head.magic, kMagic, sizeof kMagic);
    pool.read_saved(windows, floats);
    std::string identity = options_.identity, ids(reinterpret_cast<const char*>(tokens.data()), tokens.size_bytes());
    identity.resize(filled_up(identity.size()));
    ids.resize(filled_up(ids.size()));
    floats.resize((floats.size() + 1) / 2 * 2);
    const std::uint64_t n_kv_filled = filled_up(head.n_kv_bytes);
    const std::byte filling[8] = {};
    // The head comes first and has the sum of the rest, so what is summed up is gone through twice.
    const auto each_part = [&](const auto& take) {
        take(std::as_bytes(std::span(identity)));
        take(std::as_bytes(std::span(ids)));
        pool.read_kv(pages, n, take);
        take(std::span(filling).first(n_kv_filled - head.n_kv_bytes));
        take(std::as_bytes(std::span(floats)));
    };
    const std::uint64_t size = sizeof head + identity.size() + ids.size() + n_kv_filled + floats.size() * sizeof(float);
    if (!make_room(size)) return false;
    Sum sum;
    each_part([&](std::span<const std::byte> part) { sum.add(part); });
    head.sum = sum.value();
    OutputFile file(path.string());
    file.reserve(Bytes{size});
    const auto append = [&](std::span<const std::byte> part) {
        file.write({reinterpret_cast<const char*>(part.data()), part.size()});
    };
    append(std::as_bytes(std::span(&head, 1)));
    each_part(append);
    file.keep();
    std::error_code ignored;
    fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write, ignored);
    return true;
}

bool PromptStore::store(std::span<const std::int32_t> tokens, std::uint64_t scope, std::span<const PageId> pages,
                        SnapshotId windows, StatePool& pool) {
    if (tokens.size() < kFewestStored) return false;
    const auto begins_with = [](std::span<const std::int32_t> longer, std::span<const std::int32_t> beginning) {
        return longer.size() >= beginning.size() && n_common(longer, beginning) == beginning.size();
    };
    for (const Entry& entry : entries_)
        if (entry.scope == scope && begins_with(entry.tokens, tokens)) return false;
    const fs::path path = options_.folder / name_of(options_.identity, scope, tokens);
    try {
        if (!write(path, tokens, scope, pages, windows, pool)) return false;
    } catch (const Error& error) {  // costs the file, not the answer
        remarks_.push_back("not stored: " + std::string(error.what()));
        return false;
    }
    std::erase_if(entries_, [&](const Entry& entry) {
        if (entry.scope != scope || !begins_with(tokens, entry.tokens)) return false;
        std::error_code gone;
        fs::remove(entry.path, gone);
        return true;
    });
    entries_.push_back({path, scope, {tokens.begin(), tokens.end()}});
    return true;
}

}  // namespace lfm
