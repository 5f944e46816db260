// Bytes to and from device memory that the host cannot reach: through two buffers that take turns, so that the host
// fills one while the device copies the other.
#pragma once

#include <volk.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <span>

#include "backends/device/host_copies.h"
#include "backends/vulkan/host_imports.h"
#include "backends/vulkan/memory.h"
#include "backends/vulkan/timelines.h"

namespace lfm::vulkan {

/// One piece of a transfer.
struct Transfer {
    BufferPart device;
    const std::byte* from = nullptr;  // upload: of the host
    std::byte* to = nullptr;          // download: of the host
    std::size_t size = 0;
};

/// Used by one thread, except last(). Every other function throws Error{kDeviceLost}, and stops early once `stop` is
/// true.
class Staging {
public:
    static constexpr std::size_t kHalfBytes = std::size_t{4} << 20;

    Staging(Gpu& gpu, Memory& memory, const HostImports& imports, const std::atomic<bool>& stop);
    Staging(const Staging&) = delete;
    Staging& operator=(const Staging&) = delete;
    ~Staging();

    struct Signal {
        VkSemaphore semaphore;
        std::uint64_t value;
    };
    /// Returns when all is handed to the queue; the device then signals `done`. `workers` fill the buffers; null: the
    /// caller alone.
    void upload(std::span<const Transfer> transfers, std::optional<Signal> done, const Workers* workers);
    /// Blocks until the bytes are there. What the device wrote before `written` was reached is seen.
    void download(std::span<const Transfer> transfers, Signal written);
    /// Blocks until everything handed over is done.
    void finish();
    /// Reached when all transfers so far are done: work that reads uploaded bytes waits for it. From any thread.
    Signal last() const { return {copied_.handle(), value_.load(std::memory_order_acquire)}; }

private:
    struct Half {
        VkCommandBuffer commands = VK_NULL_HANDLE;
        std::uint64_t busy_until = 0;  // of copied_
    };
    /// Waits for the half whose turn it is and begins its commands. Nothing when stopped.
    Half* begin();
    /// Hands the half's commands over.
    void submit(Half& half, std::optional<Signal> wait, std::optional<Signal> done);
    std::size_t begin_of(const Half& half) const;

    Gpu& gpu_;
    const HostImports& imports_;
    const std::atomic<bool>& stop_;
    OwnBlock block_;
    BufferPart part_;
    TimelineSemaphore copied_;
    std::atomic<std::uint64_t> value_ = 0;
    VkCommandPool pool_ = VK_NULL_HANDLE;
    std::array<Half, 2> halves_;
    std::size_t turn_ = 0;
    HostCopies copies_;  // into the half being filled
};

}  // namespace lfm::vulkan
