#include "runtime/upload.h"

#include <chrono>

#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>

namespace lfm {
namespace {

/// Copied between two reports of progress.
constexpr std::uint64_t kReported = std::uint64_t{256} << 20;

}  // namespace

Uploaded upload(Device& device, std::span<const CopyRegion> regions, std::uint32_t n_threads,
                const LoadProgress& progress) {
    const auto begin = std::chrono::steady_clock::now();
    tbb::task_arena arena(static_cast<int>(n_threads));
    const Workers workers = [&](std::size_t n, const std::function<void(std::size_t)>& work) {
        arena.execute([&] { tbb::parallel_for(std::size_t{0}, n, work, tbb::simple_partitioner()); });
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
