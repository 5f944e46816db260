#include "runtime/text/bpe.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>
#include <string>

#include "memory/error.h"
#include "runtime/text/byte_level.h"

namespace lfm {
namespace {

constexpr std::string_view kMergesKey = "tokenizer.ggml.merges";
constexpr std::uint64_t kMaxMerges = 1 << 19;  // a merge makes a token: as many as a vocabulary may have
constexpr std::int32_t kDead = -1;
constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();

class MergeReader {
public:
    MergeReader(const GgufFile& file, const Vocabulary& vocabulary) : file_(file), vocabulary_(vocabulary) {}

    std::vector<Merge> read() {
        const GgufEntry* entry = file_.find(kMergesKey);
        if (entry == nullptr) return {};
        if (entry->type == GgufType::kArray && entry->count > kMaxMerges)
            fail("at most " + std::to_string(kMaxMerges) + " merges", std::to_string(entry->count));
        const auto lines = file_.find_strings(kMergesKey).value();
        std::vector<Merge> merges;
        merges.reserve(lines.size());
        for (const std::string_view line : lines) {
            rank_ = merges.size();
            merges.push_back(parse(line));
        }
        return merges;
    }

private:
    [[noreturn]] void fail(const std::string& expected, const std::string& found) const {
        throw Error(ErrorCode::kInvalidModel, file_.name() + ": " + std::string(kMergesKey),
                    "expected " + expected + ", found " + found);
    }

    /// "left right", in the byte-level spelling, which has no spaces.
    Merge parse(std::string_view line) {
        const std::size_t space = line.find(' ');
        if (space == std::string_view::npos || space == 0 || space + 1 == line.size() || space != line.rfind(' '))
            fail("two tokens with one space between them", "something else in merge " + std::to_string(rank_));
        bytes_.clear();
        append_byte_level(line.substr(0, space), bytes_);
        const std::size_t left_size = bytes_.size();
        append_byte_level(line.substr(space + 1), bytes_);
        const std::string_view both = bytes_;
        return {token(both.substr(0, left_size)), token(both.substr(left_size)), token(both)};
    }

    std::int32_t token(std::string_view piece) const {
        const auto id = vocabulary_.find(piece);
        if (!id)
            fail("merges of tokens that make a token", "merge " + std::to_string(rank_) + " with an unknown token");
        return *id;
    }

    const GgufFile& file_;
    const Vocabulary& vocabulary_;
    std::size_t rank_ = 0;
    std::string bytes_;
};

std::uint32_t hash_pair(std::int32_t left, std::int32_t right) {
    const std::uint64_t key = static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint32_t>(right);
    return static_cast<std::uint32_t>(key * 0x9E3779B97F4A7C15u >> 32);  // 2^64 / golden ratio (Knuth, vol. 3, 6.4)
}

}  // namespace

MergeTable MergeTable::from_gguf(const GgufFile& file, const Vocabulary& vocabulary) {
    MergeTable table;
    table.merges_ = MergeReader(file, vocabulary).read();
    table.slots_.assign(std::bit_ceil(table.merges_.size() * 2 + 1), -1);  // at most half are taken
    for (std::size_t rank = 0; rank < table.merges_.size(); ++rank) {
        std::int32_t& slot = table.slots_[table.slot_of(table.merges_[rank].left, table.merges_[rank].right)];
        if (slot < 0) slot = static_cast<std::int32_t>(rank);
    }
    return table;
}

/// The slot that holds this pair, or the free one where it belongs.
std::uint32_t MergeTable::slot_of(std::int32_t left, std::int32_t right) const {
    const std::uint32_t mask = static_cast<std::uint32_t>(slots_.size()) - 1;
    const auto differs = [&](const Merge& merge) { return merge.left != left || merge.right != right; };
    std::uint32_t slot = hash_pair(left, right) & mask;
    while (slots_[slot] >= 0 && differs(merges_[slots_[slot]])) slot = (slot + 1) & mask;
    return slot;
}

std::optional<std::uint32_t> MergeTable::find(std::int32_t left, std::int32_t right) const {
    const std::int32_t rank = slots_[slot_of(left, right)];
    return rank < 0 ? std::nullopt : std::optional(static_cast<std::uint32_t>(rank));
}

void BpeEncoder::append(std::string_view pre_token, std::vector<std::int32_t>& ids) {
    // A word that is a control token's text stays text: control tokens come from the special-token search.
    if (const auto whole = vocabulary_.find(pre_token); whole && !vocabulary_.is_control(*whole)) {
        ids.push_back(*whole);
        return;
    }
    start(pre_token);
    while (!heap_.empty()) {
        std::ranges::pop_heap(heap_, std::greater{});
        const std::uint64_t best = heap_.back();
        heap_.pop_back();
        // A candidate is stale once one of its two symbols was merged elsewhere: then its rank is another one.
        const auto left = static_cast<std::uint32_t>(best);
        if (candidate(left) == best) merge(left, merges_.at(static_cast<std::uint32_t>(best >> 32)));
    }
    for (std::uint32_t i = 0; i != kNone; i = symbols_[i].next) ids.push_back(symbols_[i].id);
}

void BpeEncoder::start(std::string_view pre_token) {
    symbols_.clear();
    for (const char byte : pre_token) {
        const auto id = vocabulary_.find_byte(static_cast<std::uint8_t>(byte));
        if (!id)
            throw Error(ErrorCode::kInvalidInput, "text",
                        "expected bytes the vocabulary has tokens for, found " +
                            std::to_string(static_cast<unsigned char>(byte)));
        const auto index = static_cast<std::uint32_t>(symbols_.size());
        symbols_.push_back({*id, index == 0 ? kNone : index - 1, index + 1});
    }
    symbols_.back().next = kNone;
    heap_.clear();
    for (std::uint32_t left = 0; left < symbols_.size(); ++left)
        if (const auto found = candidate(left)) heap_.push_back(*found);
    std::ranges::make_heap(heap_, std::greater{});
}

/// The merge of this symbol with the one after it; nothing when there is none.
std::optional<std::uint64_t> BpeEncoder::candidate(std::uint32_t left) const {
    const Symbol& symbol = symbols_[left];
    if (symbol.id == kDead || symbol.next == kNone) return std::nullopt;
    const auto rank = merges_.find(symbol.id, symbols_[symbol.next].id);
    if (!rank) return std::nullopt;
    return std::uint64_t{*rank} << 32 | left;
}

void BpeEncoder::merge(std::uint32_t left, const Merge& merge) {
    const auto push = [&](std::uint32_t index) {
        if (const auto found = candidate(index)) {
            heap_.push_back(*found);
            std::ranges::push_heap(heap_, std::greater{});
        }
    };
    Symbol& symbol = symbols_[left];
    Symbol& absorbed = symbols_[symbol.next];
    symbol.id = merge.result;
    symbol.next = absorbed.next;
    absorbed.id = kDead;
    if (symbol.next != kNone) symbols_[symbol.next].previous = left;
    push(left);
    if (symbol.previous != kNone) push(symbol.previous);
}

}  // namespace lfm
