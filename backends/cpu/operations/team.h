// Work shared among the threads of the present oneTBB arena.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

namespace lfm::cpu {

/// Each thread has a run of neighbouring items, which it takes one by one: kernels prefetch what follows. Who is done
/// goes on with the others' runs, so that fast and slow cores finish together; results must not depend on who takes
/// what. A decode step is a few hundred calls of some 50 µs each, and waking a thread takes as long as that. So
/// helpers are called together once for many calls and then watch for work; a call never waits for one that has not
/// come, as oneTBB promises nobody.
class Team {
public:
    /// `n_threads` at most take part; the caller is one of them.
    explicit Team(std::uint32_t n_threads);
    Team(const Team&) = delete;
    Team& operator=(const Team&) = delete;

    std::uint32_t n_threads() const { return n_threads_; }

    /// body(), with helpers at hand for every for_each in it. One at a time; blocks; what body throws comes through.
    template <typename Body>
    void assemble(const Body& body) {
        run_assembled({&body, [](const void* context, std::uint32_t) { (*static_cast<const Body*>(context))(); }});
    }

    /// work(i) for every i below n_items, in any order, on any thread; returns when all are done. Within assemble();
    /// outside, the caller does all of it. `work` does not throw and does not call for_each.
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
    // Written while no call is open and nobody is busy.
    Call call_{};
    std::vector<Run> runs_;  // [n_threads]
    /// Counts up when a call opens and when it closes: odd while one is open.
    alignas(kCacheLine) std::atomic<std::uint32_t> state_{0};
    std::atomic<bool> dismissed_{false};
    alignas(kCacheLine) std::atomic<std::uint32_t> busy_{0};  // helpers that may look at call_
};

}  // namespace lfm::cpu
