// What is left of a card's memory before it is opened: asking the vendor's runtime would open it.
#pragma once

#include <cstdint>
#include <optional>

namespace lfm::gpu {

/// Bytes that no process holds; nothing where neither the vendor's management library nor the system tells.
std::optional<std::uint64_t> free_memory_of(int index);

}  // namespace lfm::gpu
