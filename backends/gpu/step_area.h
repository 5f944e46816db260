// What kernels read of a step: StepParams and changed expert tables, copied to the device when the step begins.
#pragma once

#include <cstdint>

#include "backends/device/expert_mirrors.h"
#include "backends/device/step_image.h"
#include "backends/gpu/kernels/step.h"
#include "backends/gpu/memory.h"

namespace lfm::gpu {

/// Device memory that the host writes between steps: through pinned memory of the same size.
class MirroredBlock {
public:
    MirroredBlock(Memory& memory, std::size_t size)
        : host_(memory, MemoryKind::kShared, Purpose::kScratch, size),
          device_(memory, MemoryKind::kOwn, Purpose::kScratch, size) {}

    static Bytes memory_needed(std::size_t size) {
        return Memory::counted(MemoryKind::kShared, size) + Memory::counted(MemoryKind::kOwn, size);
    }
    std::byte* host() const { return host_.host(); }
    std::byte* address() const { return device_.address(); }
    std::size_t size() const { return device_.size(); }
    /// Enqueues a copy of a part. The host's bytes stay as they are until it is done.
    api::Status send(std::size_t begin, std::size_t size, api::Stream stream) const {
        return size > 0 ? api::copy(address() + begin, host() + begin, size, stream) : api::kSuccess;
    }

private:
    OwnBlock host_, device_;
};

/// The device's copy of one StepParams.
class StepArea {
public:
    StepArea(Memory& memory, const BackendLimits& limits, const StepParams& params, const StepNeeds& needs);

    /// Whether operations with these needs may use it as it is.
    bool holds(const StepNeeds& needs) const { return image_.needs().hold(needs); }
    const Step* address() const { return reinterpret_cast<const Step*>(block_.address()); }
    /// kMostTickets (kernels/step.h): zero in each step that is sent.
    std::uint32_t* tickets() const { return reinterpret_cast<std::uint32_t*>(block_.address() + image_.gap_at()); }
    /// Of the step last sent.
    const StepHeader& header() const { return header_; }
    /// Copies StepParams; nothing may be running. Throws Error{kUsage} when the step is larger than the limits.
    void send(Health& health, api::Stream stream);

private:
    const StepParams* source_;
    StepImage image_;
    StepHeader header_;
    MirroredBlock block_;
};

/// Device copies of the expert tables that programs name.
class ExpertMirrors final : public lfm::ExpertMirrors<MirroredBlock> {
public:
    using lfm::ExpertMirrors<MirroredBlock>::ExpertMirrors;
};

}  // namespace lfm::gpu
