// Memory of the host that the device's copies read without staging: VK_EXT_external_memory_host.
#pragma once

#include <volk.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <vector>

#include "backends/vulkan/gpu.h"
#include "memory/units.h"

namespace lfm::vulkan {

/// One buffer and one VkDeviceMemory a chunk. It is RAM: the device's budget does not count it. Thread-safe.
class HostImports {
public:
    /// Small enough that one refusal costs little.
    static constexpr std::size_t kLargestChunk = std::size_t{256} << 20;

    explicit HostImports(Gpu& gpu) : gpu_(gpu) {}
    HostImports(const HostImports&) = delete;
    HostImports& operator=(const HostImports&) = delete;
    ~HostImports();

    struct Added {
        std::uint64_t handle = 0;
        Bytes bytes;
    };
    /// Imports whole pages only. Chunks that the driver refuses are left out: no error.
    Added add(std::span<const std::byte> memory);
    /// `find` no longer finds it. When it is in use, its buffers are kept until the device is closed.
    void remove(std::uint64_t handle, bool in_use) noexcept;

    struct Part {
        VkBuffer buffer = VK_NULL_HANDLE;  // null: not imported
        VkDeviceSize offset = 0;
        std::size_t size = 0;  // bytes that the above holds for
    };
    Part find(const std::byte* memory, std::size_t size) const;

private:
    struct Chunk {
        VkBuffer buffer = VK_NULL_HANDLE;
        VkDeviceMemory memory = VK_NULL_HANDLE;
        std::size_t size = 0;
        std::uint64_t handle = 0;
    };
    bool import(Chunk& chunk, const std::byte* memory) const;
    void destroy(const Chunk& chunk) const noexcept;

    Gpu& gpu_;
    mutable std::mutex mutex_;
    std::map<const std::byte*, Chunk> chunks_;  // by begin
    std::vector<Chunk> left_in_use_;
    std::uint64_t n_handles_ = 0;
};

}  // namespace lfm::vulkan
