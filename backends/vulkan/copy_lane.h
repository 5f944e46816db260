// Copies to and from the device's memory: by the host where it reaches that memory, else through staging.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "backends/device/copy_queue.h"
#include "backends/vulkan/host_imports.h"
#include "backends/vulkan/memory.h"
#include "backends/vulkan/staging.h"
#include "backends/vulkan/timelines.h"

namespace lfm::vulkan {

class CopyLane final : public Carrier {
public:
    CopyLane(Gpu& gpu, Memory& memory, Timelines& timelines);

    /// As Device::copy. Throws Error{kUsage} for addresses outside the device's blocks.
    Point copy(std::span<const CopyRegion> regions, std::span<const Point> waits);
    /// As Device::upload_with and Device::download; both block.
    void upload(std::span<const CopyRegion> regions, const Workers& workers);
    void download(std::span<std::byte> to, const std::byte* from);
    /// Host memory that later copies read without staging; used only where registers_memory().
    HostImports& imports() { return imports_; }
    bool registers_memory() const { return staging_ != nullptr && gpu_.facts().import_alignment > 0; }
    /// Ends the thread; what it had not begun stays undone.
    void stop() noexcept {
        stop_.store(true, std::memory_order_release);
        queue_->stop();
    }
    /// What work on the device must wait for to see uploads; nothing where the host writes itself.
    std::optional<Staging::Signal> uploaded() const;

private:
    bool wait_for(Timeline timeline, std::uint64_t value, const std::atomic<bool>& stop) override {
        return timelines_.of(timeline).wait(value, stop);
    }
    void carry(const CopyJob& job, const std::atomic<bool>& stop) override;
    void fail() noexcept override { gpu_.health().fail(); }
    void require_alive() const override { gpu_.health().require_alive(); }
    void require_own(std::span<const CopyRegion> regions) const;

    Gpu& gpu_;
    Memory& memory_;
    Timelines& timelines_;
    std::atomic<bool> stop_ = false;
    HostImports imports_;
    std::unique_ptr<Staging> staging_;  // null: the host writes and reads device memory itself
    std::vector<Transfer> transfers_;   // of the job under way
    std::unique_ptr<CopyQueue> queue_;  // last: its thread uses all of the above
};

}  // namespace lfm::vulkan
