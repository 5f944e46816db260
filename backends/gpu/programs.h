// Recorded programs: what each launches for steps of one token and for more, with the memory they share.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backends/backend.h"
#include "backends/gpu/memory.h"
#include "backends/gpu/recorder.h"
#include "backends/gpu/step_area.h"

namespace lfm::gpu {

class Programs {
public:
    Programs(Memory& memory, const BackendLimits& limits, const DeviceTraits& traits)
        : memory_(memory), limits_(limits), traits_(traits), scratch_sizes_(limits), experts_(memory, traits.self) {}

    /// As Backend::record. Where shared memory must grow all programs are recorded anew, so nothing may be running.
    /// Throws Error; then the programs before stay as they were.
    ProgramId record(std::span<const Operation> operations, const StepParams& params);
    /// As Device::begin_step: enqueues what changed.
    void send_step(Health& health, api::Stream stream);

    struct Present {
        std::span<const Launch> launches;
        const StepHeader* step;
    };
    /// What the program does in the present step. Throws Error{kUsage} when there is none.
    Present present(ProgramId program) const;
    std::size_t size() const { return programs_.size(); }
    /// Rises when launches that were given out are no longer true.
    std::uint64_t generation() const { return generation_; }

private:
    struct Program {
        std::vector<Operation> operations;
        std::size_t area = 0;  // of areas_
        std::vector<Launch> one, many;
    };
    struct Area {
        const StepParams* params;
        std::unique_ptr<StepArea> step;  // null: not taken yet
    };

    void drop_last() noexcept;
    /// Records the last program; all of them where memory they share has to be taken anew.
    void prepare();
    void take_memory(const ScratchSizes& scratch, std::span<const StepNeeds> needs);
    void record_both(Program& program);
    void record_launches(const Program& program, StepClass step_class, std::vector<Launch>& launches);

    Memory& memory_;
    BackendLimits limits_;
    DeviceTraits traits_;
    ScratchSizes scratch_sizes_;
    OwnBlock scratch_;
    std::vector<Area> areas_;  // one for each StepParams
    ExpertMirrors experts_;
    std::vector<Program> programs_;
    std::uint64_t generation_ = 0;
    bool recorded_ = true;  // false: memory could not be taken, so the launches name none
};

}  // namespace lfm::gpu
