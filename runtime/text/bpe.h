// Byte-pair encoding: joins the bytes of a pre-token by the vocabulary's ranked merges.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "memory/gguf.h"
#include "runtime/text/vocabulary.h"

namespace lfm {

struct Merge {
    std::int32_t left;
    std::int32_t right;
    std::int32_t result;
};

/// The merges by rank: the first of the list is applied first.
class MergeTable {
public:
    /// Throws kInvalidModel naming `tokenizer.ggml.merges` when a merge is not two tokens that make a third. Of equal
    /// merges the first counts. A file without the key has none.
    static MergeTable from_gguf(const GgufFile& file, const Vocabulary& vocabulary);

    /// Rank of the merge of these two tokens.
    std::optional<std::uint32_t> find(std::int32_t left, std::int32_t right) const;
    const Merge& at(std::uint32_t rank) const { return merges_[rank]; }

private:
    std::uint32_t slot_of(std::int32_t left, std::int32_t right) const;

    std::vector<Merge> merges_;
    std::vector<std::int32_t> slots_;  // ranks; open addressing, a power of two in size; -1: free
};

/// Encodes pre-tokens one after the other, reusing its memory; not shared between threads.
class BpeEncoder {
public:
    /// Both outlive this.
    BpeEncoder(const Vocabulary& vocabulary, const MergeTable& merges) : vocabulary_(vocabulary), merges_(merges) {}

    /// Appends the tokens of `pre_token`: the one with exactly its bytes if there is one, otherwise what the merges
    /// make, best rank first, of equal ranks the leftmost. O(n log n). Throws kInvalidInput for a byte without a token.
    void append(std::string_view pre_token, std::vector<std::int32_t>& ids);

private:
    /// Symbols are the tokens so far, linked in the order of the text; one merged into its left neighbour is dead.
    struct Symbol {
        std::int32_t id;
        std::uint32_t previous;
        std::uint32_t next;
    };
    void start(std::string_view pre_token);
    std::optional<std::uint64_t> candidate(std::uint32_t left) const;
    void merge(std::uint32_t left, const Merge& merge);

    const Vocabulary& vocabulary_;
    const MergeTable& merges_;
    std::vector<Symbol> symbols_;
    std::vector<std::uint64_t> heap_;  // candidates: rank << 32 | index of the left symbol; the least on top
};

}  // namespace lfm
