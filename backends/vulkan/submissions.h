// Work for the compute lane, collected and handed over in one call.
#pragma once

#include <volk.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "backends/vulkan/gpu.h"
#include "backends/vulkan/staging.h"
#include "backends/vulkan/timelines.h"

namespace lfm::vulkan {

class Submissions {
public:
    Submissions(Gpu& gpu, Timelines& timelines);

    /// Returns the point of the compute timeline that the commands reach. Throws Error{kUsage} when `waits` has a later
    /// point of that timeline.
    Point add(VkCommandBuffer commands, std::span<const Point> waits);
    /// Submits all that was added; the first batch waits for `uploaded` too. Throws Error{kDeviceLost}.
    void flush(std::optional<Staging::Signal> uploaded);

private:
    /// One batch: an element of the arrays that Vulkan wants.
    struct Batch {
        VkCommandBuffer commands;
        std::array<VkSemaphore, 3> waits;
        std::array<std::uint64_t, 3> wait_values;
        std::uint32_t n_waits;
        std::uint64_t reached;
    };
    static void add_wait(Batch& batch, VkSemaphore semaphore, std::uint64_t value);

    Gpu& gpu_;
    Timelines& timelines_;
    std::vector<Batch> batches_;
    std::vector<VkTimelineSemaphoreSubmitInfo> values_;
    std::vector<VkSubmitInfo> infos_;
};

}  // namespace lfm::vulkan
