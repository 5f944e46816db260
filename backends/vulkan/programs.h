// Recorded programs, each once for steps of one token and once for more, with the memory they share.
#pragma once

#include <volk.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backends/backend.h"
#include "backends/device/recorded_programs.h"
#include "backends/vulkan/gpu.h"
#include "backends/vulkan/memory.h"
#include "backends/vulkan/pipelines.h"
#include "backends/vulkan/recorder.h"
#include "backends/vulkan/step_area.h"

namespace lfm::vulkan {

/// Command buffers of one program.
struct ProgramCommands {
    VkCommandBuffer one = VK_NULL_HANDLE;
    VkCommandBuffer many = VK_NULL_HANDLE;
};

class Programs final : public RecordedPrograms<Programs, StepArea, ProgramCommands, OwnBlock, ExpertMirrors> {
public:
    Programs(Gpu& gpu, Memory& memory, const BackendLimits& limits, ActivationKind activations, DeviceId self);
    ~Programs();

    /// As Device::begin_step.
    void begin_step();
    /// What replays the program in the present step. Throws Error{kUsage} for an unknown program,
    /// Error{kShortfall} when there was no memory to record it anew.
    VkCommandBuffer commands(ProgramId program) const;

private:
    friend RecordedPrograms;
    ProgramCommands make_recording() const;
    void drop(ProgramCommands& commands) noexcept;
    void record_both(const std::vector<Operation>& operations, StepArea& area, const ProgramCommands& commands);
    void reserve_scratch(ScratchSizes& sizes, const Operation& operation) const;
    OwnBlock take_scratch(std::size_t n_bytes);
    std::unique_ptr<StepArea> take_area(const StepParams& params, const StepNeeds& needs);
    void recordings_change() noexcept {}

    void record_commands(const std::vector<Operation>& operations, StepArea& area, StepClass step_class,
                         VkCommandBuffer commands);

    Gpu& gpu_;
    Memory& memory_;
    DeviceTraits traits_;
    Pipelines pipelines_;
    VkCommandPool pool_ = VK_NULL_HANDLE;
};

}  // namespace lfm::vulkan
