#include "backends/cpu/team.h"

#include <algorithm>
#include <atomic>

#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/partitioner.h>
#include <oneapi/tbb/task_arena.h>

namespace lfm::cpu {

void Team::run(std::uint32_t n_items, Call call) const {
    const std::uint32_t n_workers = std::min(n_threads_, n_items);
    if (n_workers <= 1) {
        for (std::uint32_t item = 0; item < n_items; ++item) call.function(call.context, item);
        return;
    }
    std::atomic<std::uint32_t> next{0};
    const auto worker = [&](std::uint32_t) {
        for (std::uint32_t item; (item = next.fetch_add(1, std::memory_order_relaxed)) < n_items;)
            call.function(call.context, item);
    };
    // Isolated: a thread that waits here must not pick up a task of the graph around it.
    tbb::this_task_arena::isolate(
        [&] { tbb::parallel_for(std::uint32_t{0}, n_workers, worker, tbb::static_partitioner{}); });
}

}  // namespace lfm::cpu
