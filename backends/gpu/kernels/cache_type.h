// The types of key and value caches, as push values.
#pragma once

#include <cstdint>

namespace lfm::gpu {

enum class CacheType : std::uint32_t { kF32, kF16, kQ8_0 };

}  // namespace lfm::gpu
