// Work shared among the threads of the current oneTBB arena.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

namespace lfm::cpu {

/// Each thread has a run of neighbouring items, which it takes one by one: kernels prefetch what follows. A thread that
/// is done goes on with the others' runs, so that fast and slow cores finish together; results must not depend on which
/// thread takes an item. A decode step is a few hundred calls of some 50 µs each, and waking a thread takes as long as
/// that. So helpers are woken once for many calls and then watch for work; a call never waits for a helper that has not
/// started, as oneTBB does not guarantee that one ever does.
class Team {
public:
    /// `n_threads` at most take part; the caller is one of them.
    explicit Team(std::uint32_t n_threads);
    Team(const Team&) = delete;
    Team& operator=(const Team&) = delete;

    std::uint32_t n_threads() const { return n_threads_; }

    /// Runs body() with helpers ready for every for_each in it. Blocks; one call at a time; rethrows what body throws.
    template <typename Body>
    void assemble(const Body& body) {
        run_assembled({&body, [](const void* context, std::uint32_t) { (*static_cast<const Body*>(context))(); }});
    }

    /// Calls work(i) for every i below n_items, in any order, on any thread; returns when all are done. Outside
    /// assemble() the caller does all of it. `work` must not throw or call for_each.
    template <typename Work>
    void for_each(std::uint32_t n_items, const Work& work) {
        run({&work, [](const void* context, std::uint32_t item) { (*static_cast<const Work*>(context))(item); }},
            n_items);
    }

private:
    struct Call {
        const void* context;
        void (*function)(const void* context, std::uint32_t item);
    };
    void run_assembled(Call body);
    void run(Call call, std::uint32_t n_items);
    void help(std::uint32_t thread);
    void claim_items(std::uint32_t thread);
    std::uint32_t await_change(std::uint32_t seen) const;

    static constexpr std::size_t kCacheLine = 64;
    struct alignas(kCacheLine) Run {
        std::atomic<std::uint32_t> next{0};  // item; may count past the end
        std::uint32_t end = 0;
    };

    std::uint32_t n_threads_;
    std::uint32_t n_spins_;  // looks at `state_` before sleeping
    // Written while no call is open and no helper is busy.
    Call call_{};
    std::vector<Run> runs_;  // [n_threads]
    /// Counts up when a call opens and when it closes: odd while one is open.
    alignas(kCacheLine) std::atomic<std::uint32_t> state_{0};
    std::atomic<bool> dismissed_{false};
    alignas(kCacheLine) std::atomic<std::uint32_t> busy_{0};  // helpers that may look at call_
};

}  // namespace lfm::cpu
