// Recorded programs, each once for steps of one token and once for more, with the memory they share.
#pragma once

#include <volk.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backends/backend.h"
#include "backends/vulkan/gpu.h"
#include "backends/vulkan/memory.h"
#include "backends/vulkan/pipelines.h"
#include "backends/vulkan/recorder.h"
#include "backends/vulkan/step_area.h"

namespace lfm::vulkan {

class Programs {
public:
    Programs(Gpu& gpu, Memory& memory, const BackendLimits& limits, ActivationKind activations, DeviceId self);
    Programs(const Programs&) = delete;
    Programs& operator=(const Programs&) = delete;
    ~Programs();

    /// As Backend::record. Where shared memory must grow all programs are recorded anew, so nothing may be running.
    /// Throws Error; then the programs before stay as they were.
    ProgramId record(std::span<const Operation> operations, const StepParams& params);
    /// As Device::begin_step.
    void begin_step();
    /// What replays the program in the present step. Throws Error{kUsage} when there is none.
    VkCommandBuffer commands(ProgramId program) const;

private:
    struct Program {
        std::vector<Operation> operations;
        std::size_t area = 0;  // of areas_
        VkCommandBuffer one = VK_NULL_HANDLE;
        VkCommandBuffer many = VK_NULL_HANDLE;
    };
    struct Area {
        const StepParams* params;
        std::unique_ptr<StepArea> step;  // null: not taken yet
    };

    void add(std::span<const Operation> operations, const StepParams& params);
    void drop_last() noexcept;
    /// Records the last program; all of them where memory they share has to be taken anew.
    void prepare();
    void take_memory(const ScratchSizes& scratch, std::span<const StepNeeds> needs);
    void record_both(const Program& program);
    void record_commands(const Program& program, StepClass step_class, VkCommandBuffer commands);

    Gpu& gpu_;
    Memory& memory_;
    BackendLimits limits_;
    DeviceTraits traits_;
    Pipelines pipelines_;
    VkCommandPool pool_ = VK_NULL_HANDLE;
    ScratchSizes scratch_sizes_;
    OwnBlock scratch_;
    std::vector<Area> areas_;  // one for each StepParams
    ExpertMirrors experts_;
    std::vector<Program> programs_;
    bool recorded_ = true;  // false: memory could not be taken, so the recordings name none
};

}  // namespace lfm::vulkan
