// Hashed look-up of names that come from a file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace lfm {

/// Places of names, in the order they were added. The hash has a key of its own for each index, drawn at random: names
/// cannot be chosen to collide. The names' bytes outlive the index.
class NameIndex {
public:
    NameIndex();
    /// False, and nothing added, when the name is there already.
    bool add(std::string_view name);
    std::optional<std::uint32_t> find(std::string_view name) const;

private:
    std::size_t slot_of(std::string_view name) const;
    void grow();

    std::uint64_t key_[2];
    std::vector<std::string_view> names_;
    std::vector<std::uint32_t> slots_;  // open addressing, a power of two in size; kFree or a place in names_
};

}  // namespace lfm
