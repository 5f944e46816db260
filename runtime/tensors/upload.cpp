#include "runtime/tensors/upload.h"

#include <atomic>
#include <chrono>

#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>

namespace lfm {
namespace {

/// Bytes copied between two reports of progress.
constexpr std::uint64_t kReported = std::uint64_t{256} << 20;

}  // namespace

Uploaded upload(Device& device, std::span<const CopyRegion> regions, std::uint32_t n_threads,
                const LoadProgress& progress) {
    const auto begin = std::chrono::steady_clock::now();
    // More threads than cores are granted only on request.
    const tbb::global_control parallelism(tbb::global_control::max_allowed_parallelism, n_threads);
    tbb::task_arena arena(static_cast<int>(n_threads));
    const Workers workers = [&](std::size_t n, const std::function<void(std::size_t)>& work) {
        // In order, so that a cold file is read from its beginning to its end.
        std::atomic<std::size_t> next{0};
        const auto take = [&](std::uint32_t) {
            for (std::size_t i = next++; i < n; i = next++) work(i);
        };
        arena.execute([&] { tbb::parallel_for(std::uint32_t{0}, n_threads, take, tbb::simple_partitioner()); });
    };
    std::uint64_t total = 0, done = 0;
    for (const CopyRegion& region : regions) total += region.size;
    for (std::size_t first = 0; first < regions.size();) {
        std::size_t end = first;
        std::uint64_t size = 0;
        while (end < regions.size() && (size == 0 || size + regions[end].size <= kReported))
            size += regions[end++].size;
        device.upload_with(workers, regions.subspan(first, end - first));
        first = end;
        done += size;
        if (progress) progress({done}, {total});
    }
    return {{total}, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count()};
}

}  // namespace lfm
