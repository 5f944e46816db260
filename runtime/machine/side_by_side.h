// Plain threads at once, timed: for yardsticks, which must not depend on the scheduler they judge.
#pragma once

#include <cstdint>
#include <functional>

namespace lfm {

/// Runs work(0) … work(n_threads - 1), each on a new thread and, as far as there are, a core of its own: a scheduler
/// leaves new threads on one core for some milliseconds. Returns the seconds from when all were there until the
/// last was done. Starting the threads is left out: many do little work in less time than it takes to start them.
/// `work` must not throw.
double seconds_side_by_side(std::uint32_t n_threads, const std::function<void(std::uint32_t)>& work);

}  // namespace lfm
