// What shaders read of a step: StepParams and changed expert tables, copied to where the device reads them.
#pragma once

#include <cstdint>
#include <vector>

#include "backends/device/expert_mirrors.h"
#include "backends/device/step_image.h"
#include "backends/vulkan/memory.h"
#include "backends/vulkan/recorder.h"

namespace lfm::vulkan {

/// The device's copy of one StepParams, and the sizes of the grids that depend on it.
class StepArea {
public:
    StepArea(Memory& memory, const BackendLimits& limits, const StepParams& params, const StepNeeds& needs);

    const StepParams& source() const { return *source_; }
    /// Whether operations with these needs may use it as it is.
    bool holds(const StepNeeds& needs) const { return image_.needs().hold(needs); }
    const StepNeeds& needs() const { return image_.needs(); }
    std::uint64_t address() const { return block_.handle(); }
    /// Of the step last filled in.
    StepClass step_class() const { return class_of(header_); }

    /// Where the group counts of a grid lie: a VkDispatchIndirectCommand. The same grid has the same place. Throws
    /// Error{kUnsupportedModel} for more grids than there is room for.
    BufferPart place_of(const Grid& grid);
    /// Copies StepParams; nothing may be running. Throws Error{kUsage} when the step is larger than the limits.
    void fill();

private:
    void write_grid(std::size_t i);

    const StepParams* source_;
    StepImage image_;
    StepHeader header_;
    std::vector<Grid> grids_;
    OwnBlock block_;
};

/// Device copies of the expert tables that programs name.
class ExpertMirrors final : public lfm::ExpertMirrors<OwnBlock> {
public:
    using lfm::ExpertMirrors<OwnBlock>::ExpertMirrors;
};

}  // namespace lfm::vulkan
