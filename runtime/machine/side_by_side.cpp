#include "runtime/machine/side_by_side.h"

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include <pthread.h>
#include <sched.h>

#include "runtime/machine/threads.h"

namespace lfm {

namespace {

/// Not essential: where it is refused, the scheduler places the thread.
void stay_on(std::uint32_t processor) {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (processor >= CPU_SETSIZE) return;
    CPU_SET(processor, &set);
    pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

}  // namespace

double seconds_side_by_side(std::uint32_t n_threads, const std::function<void(std::uint32_t)>& work) {
    using Clock = std::chrono::steady_clock;
    std::atomic<std::uint32_t> n_waiting = 0;
    std::atomic<bool> started = false;
    const std::vector<std::uint32_t> processors = n_threads > 1 ? core_processors() : std::vector<std::uint32_t>{};
    std::vector<std::jthread> threads;
    const struct Opening {  // also when a thread cannot be started: those that wait must end
        std::atomic<bool>& gate;
        ~Opening() { gate = true; }
    } opening{started};
    for (std::uint32_t i = 0; i < n_threads; ++i) {
        threads.emplace_back([i, &work, &n_waiting, &started, &processors] {
            if (i < processors.size()) stay_on(processors[i]);
            ++n_waiting;
            while (!started) std::this_thread::yield();
            work(i);
        });
    }
    while (n_waiting < n_threads) std::this_thread::yield();
    const auto begin = Clock::now();
    started = true;
    threads.clear();  // joins
    return std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace lfm
