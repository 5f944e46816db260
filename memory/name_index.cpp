#include "memory/name_index.h"

#include <algorithm>
#include <cstring>
#include <random>

namespace lfm {
namespace {

constexpr std::uint32_t kFree = ~0u;

/// Both halves of a 128-bit product, folded: every input bit reaches every output bit.
std::uint64_t fold(std::uint64_t a, std::uint64_t b) {
    __extension__ using Wide = unsigned __int128;
    const Wide product = static_cast<Wide>(a) * b;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

}  // namespace

NameIndex::NameIndex() : slots_(16, kFree) {
    std::random_device random;
    for (std::uint64_t& word : key_) word = std::uint64_t{random()} << 32 | random() | 1;
}

std::size_t NameIndex::slot_of(std::string_view name) const {
    std::uint64_t hash = key_[0] ^ name.size();
    std::string_view rest = name;
    while (!rest.empty()) {
        std::uint64_t word = 0;
        const std::size_t size = std::min(rest.size(), sizeof word);
        std::memcpy(&word, rest.data(), size);
        hash = fold(hash ^ word, key_[1]);
        rest.remove_prefix(size);
    }
    const std::size_t mask = slots_.size() - 1;
    std::size_t slot = fold(hash, key_[0]) & mask;
    while (slots_[slot] != kFree && names_[slots_[slot]] != name) slot = (slot + 1) & mask;
    return slot;
}

bool NameIndex::add(std::string_view name) {
    const std::size_t slot = slot_of(name);
    if (slots_[slot] != kFree) return false;
    slots_[slot] = static_cast<std::uint32_t>(names_.size());
    names_.push_back(name);
    if (names_.size() * 2 > slots_.size()) grow();
    return true;
}

std::optional<std::uint32_t> NameIndex::find(std::string_view name) const {
    const std::uint32_t place = slots_[slot_of(name)];
    return place == kFree ? std::nullopt : std::optional(place);
}

void NameIndex::grow() {
    slots_.assign(slots_.size() * 2, kFree);
    for (std::uint32_t place = 0; place < names_.size(); ++place) slots_[slot_of(names_[place])] = place;
}

}  // namespace lfm
