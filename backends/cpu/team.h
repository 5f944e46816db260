// Work shared among the threads of the present oneTBB arena.
#pragma once

#include <cstdint>

namespace lfm::cpu {

/// Items are claimed one by one, so that fast and slow cores finish together; results must not depend on who takes
/// what.
class Team {
public:
    /// `n_threads` at most take part; the caller is one of them.
    explicit Team(std::uint32_t n_threads) : n_threads_(n_threads) {}

    std::uint32_t n_threads() const { return n_threads_; }

    /// work(i) for every i below n_items, in any order, on any thread; returns when all are done.
    template <typename Work>
    void for_each(std::uint32_t n_items, const Work& work) const {
        run(n_items,
            {&work, [](const void* context, std::uint32_t item) { (*static_cast<const Work*>(context))(item); }});
    }

private:
    struct Call {
        const void* context;
        void (*function)(const void* context, std::uint32_t item);
    };
    void run(std::uint32_t n_items, Call call) const;

    std::uint32_t n_threads_;
};

}  // namespace lfm::cpu
