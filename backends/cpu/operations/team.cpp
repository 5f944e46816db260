#include "backends/cpu/operations/team.h"

#include <algorithm>
#include <thread>

#include <oneapi/tbb/task_arena.h>
#include <oneapi/tbb/task_group.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lfm::cpu {
namespace {

void pause() {
#if defined(__x86_64__)
    _mm_pause();
#endif
}

}  // namespace

/// With more threads than cores, a helper that spins takes a core from one that works: there it sleeps at once.
Team::Team(std::uint32_t n_threads)
    : n_threads_(n_threads),
      n_spins_(n_threads <= std::thread::hardware_concurrency() ? 4000 : 0),
      runs_(std::max<std::uint32_t>(n_threads, 1)) {}

void Team::run_assembled(Call body) {
    if (n_threads_ <= 1) return body.function(body.context, 0);
    // Isolated: a thread that waits here must not pick up a task of the graph around it.
    tbb::this_task_arena::isolate([&] {
        tbb::task_group helpers;
        dismissed_.store(false);
        for (std::uint32_t i = 1; i < n_threads_; ++i) helpers.run([this, i] { help(i); });
        struct Dismissal {
            Team& team;
            tbb::task_group& helpers;
            ~Dismissal() {
                team.dismissed_.store(true);
                team.state_.fetch_add(2);
                team.state_.notify_all();
                helpers.wait();
            }
        } dismissal{*this, helpers};
        body.function(body.context, 0);
    });
}

void Team::run(Call call, std::uint32_t n_items) {
    if (n_threads_ <= 1 || n_items <= 1) {
        for (std::uint32_t item = 0; item < n_items; ++item) call.function(call.context, item);
        return;
    }
    call_ = call;
    for (std::uint64_t i = 0; i < n_threads_; ++i) {
        runs_[i].next.store(static_cast<std::uint32_t>(i * n_items / n_threads_), std::memory_order_relaxed);
        runs_[i].end = static_cast<std::uint32_t>((i + 1) * n_items / n_threads_);
    }
    state_.fetch_add(1);
    state_.notify_all();
    claim_items(0);
    // Closed first, then busy_ read; a helper raises busy_ first, then reads state_: either it sees the call closed or
    // it is seen busy here.
    state_.fetch_add(1);
    for (std::uint32_t i = 0; busy_.load() != 0; ++i) {
        if (i < n_spins_)
            pause();
        else
            std::this_thread::yield();
    }
}

void Team::claim_items(std::uint32_t thread) {
    for (std::uint32_t i = 0; i < n_threads_; ++i) {
        Run& run = runs_[(thread + i) % n_threads_];
        for (std::uint32_t item; (item = run.next.fetch_add(1, std::memory_order_relaxed)) < run.end;)
            call_.function(call_.context, item);
    }
}

void Team::help(std::uint32_t thread) {
    std::uint32_t seen = state_.load();
    while (!dismissed_.load()) {
        if (seen % 2 == 1) {
            busy_.fetch_add(1);
            if (state_.load() == seen) claim_items(thread);
            busy_.fetch_sub(1);
        }
        seen = await_change(seen);
    }
}

std::uint32_t Team::await_change(std::uint32_t seen) const {
    for (std::uint32_t i = 0; i < n_spins_; ++i) {
        const std::uint32_t now = state_.load();
        if (now != seen) return now;
        pause();
    }
    state_.wait(seen);
    return state_.load();
}

}  // namespace lfm::cpu
