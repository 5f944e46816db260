// A device of the machine: what it offers, which of its queues compute and copy, and the logical device.
#pragma once

#include <volk.h>

#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "backends/vulkan/health.h"
#include "backends/vulkan/vulkan_device.h"

namespace lfm::vulkan {

/// A queue by its family and its place in it.
struct QueuePlace {
    std::uint32_t family = 0;
    std::uint32_t index = 0;
};

/// Read without opening the device.
struct GpuFacts {
    VkPhysicalDevice handle = VK_NULL_HANDLE;
    VulkanInfo info;
    VkPhysicalDeviceMemoryProperties memory{};
    std::uint32_t subgroup_size = 0;
    std::uint32_t shared_memory = 0;
    Bytes largest_block;
    QueuePlace compute;
    std::optional<QueuePlace> copy;      // a queue beside the one that computes
    std::uint64_t import_alignment = 0;  // of host memory that its copies can read; 0: they can read none
    bool tells_free = false;             // the driver says how much memory other processes leave
};
GpuFacts read_facts(VkPhysicalDevice device, std::uint32_t index);

/// The logical device with its queues.
class Gpu {
public:
    /// Throws Error{kUsage} naming what the device lacks.
    explicit Gpu(const GpuFacts& facts);
    Gpu(const Gpu&) = delete;
    Gpu& operator=(const Gpu&) = delete;
    ~Gpu();

    const GpuFacts& facts() const { return facts_; }
    VkDevice handle() const { return handle_; }
    Health& health() { return health_; }

    /// Hands batches to a queue. Thread-safe. Throws Error{kDeviceLost}.
    void submit_compute(std::span<const VkSubmitInfo> batches);
    void submit_copy(const VkSubmitInfo& batch);
    /// The queue that copies: one of its own, or the one that computes.
    QueuePlace copy_place() const { return facts_.copy.value_or(facts_.compute); }
    /// Blocks until the queue that copies has nothing left to do. Does nothing where copies have no queue of their own.
    void drain_copies() noexcept;

private:
    GpuFacts facts_;
    VkDevice handle_ = VK_NULL_HANDLE;
    Health health_;
    std::mutex compute_mutex_, copy_mutex_;
    VkQueue compute_ = VK_NULL_HANDLE;
    VkQueue copy_ = VK_NULL_HANDLE;  // null: as compute
};

}  // namespace lfm::vulkan
