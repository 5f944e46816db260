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

    /// One of several programs that are submitted one after another.
    struct Link {
        ProgramId program;
        bool waits = false;    // for others, before it
        bool watched = false;  // others wait for its end
        bool operator==(const Link&) const = default;
    };
    struct Sequence {
        std::vector<Link> links;
        std::vector<Launch> launches;
        std::vector<std::uint32_t> begin;  // of each link: how many launches come before what it waits for
        std::uint64_t used = 0;            // how manieth time

        std::span<const Launch> launches_of(std::size_t link) const {
            const std::size_t end = link + 1 < begin.size() ? begin[link + 1] : launches.size();
            return std::span(launches).subspan(begin[link], end - begin[link]);
        }
    };
    /// What a sequence does together in a step of one token, which all its programs were recorded for: the launch of
    /// one may take over what the next would do. Made when it is seen first. Valid until the next call. Throws as
    /// present.
    const Sequence& present(std::span<const Link> links);

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
    Recorder recorder(std::size_t area, StepClass step_class, std::vector<Launch>& launches) const;
    const Program& find(ProgramId program) const;
    void make(Sequence& sequence) const;

    Memory& memory_;
    BackendLimits limits_;
    DeviceTraits traits_;
    ScratchSizes scratch_sizes_;
    OwnBlock scratch_;
    std::vector<Area> areas_;  // one for each StepParams
    ExpertMirrors experts_;
    std::vector<Program> programs_;
    std::vector<Sequence> sequences_;
    std::uint64_t n_uses_ = 0;
    std::uint64_t generation_ = 0;
    bool recorded_ = true;  // false: memory could not be taken, so the launches name none
};

}  // namespace lfm::gpu
