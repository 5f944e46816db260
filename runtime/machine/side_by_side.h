// Times plain threads that run at once: for reference figures, which must not depend on the scheduler that is compared
// with them.
#pragma once

#include <cstdint>
#include <functional>

namespace lfm {

/// Runs work(0) … work(n_threads - 1), each on a new thread and, as far as there are enough, a core of its own: the
/// system's scheduler may leave new threads on one core for some milliseconds. Returns the seconds from when all are
/// ready until the last is done. Starting the threads is left out: it can take longer than the work.
/// `work` must not throw.
double seconds_side_by_side(std::uint32_t n_threads, const std::function<void(std::uint32_t)>& work);

}  // namespace lfm
