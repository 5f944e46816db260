// How many threads compute by default.
#pragma once

#include <cstdint>

namespace lfm {

/// One per physical core this process may use; on hybrid processors the fast cores only; never more than the cgroup's
/// CPU quota. At least one.
std::uint32_t default_thread_count();

}  // namespace lfm
