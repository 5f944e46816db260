// Keys and values are kept in pages: so many tokens of one layer side by side. A sequence's pages lie anywhere.
#pragma once

#include <cstdint>

namespace lfm {

/// At the end of each sequence half a page is unused on average: one of 64 would double that, one of 16 the tables that
/// attention reads. A multiple of 8: attention takes eight keys at once.
inline constexpr std::uint32_t kKvPageTokens = 32;

constexpr std::uint32_t n_kv_pages(std::uint32_t n_tokens) { return (n_tokens + kKvPageTokens - 1) / kKvPageTokens; }

/// The row of a cache in which the token at this position stands. `pages`: null: page i is the cache's page i.
constexpr std::uint32_t kv_row(const std::uint32_t* pages, std::uint32_t position) {
    return pages == nullptr ? position
                            : pages[position / kKvPageTokens] * kKvPageTokens + position % kKvPageTokens;
}

}  // namespace lfm
