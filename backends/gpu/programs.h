// Recorded programs: what each launches in steps of one token and of more, and the memory they share.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backends/backend.h"
#include "backends/device/recorded_programs.h"
#include "backends/gpu/memory.h"
#include "backends/gpu/recorder.h"
#include "backends/gpu/step_area.h"

namespace lfm::gpu {

/// Launches of one program.
struct ProgramLaunches {
    std::vector<Launch> one, many;
};

class Programs final : public RecordedPrograms<Programs, StepArea, ProgramLaunches, OwnBlock, ExpertMirrors> {
public:
    Programs(Memory& memory, const BackendLimits& limits, const DeviceTraits& traits);

    /// As Device::begin_step: enqueues copies of all StepParams, and of expert tables that changed.
    void send_step(Health& health, api::Stream stream);

    struct Present {
        std::span<const Launch> launches;
        const StepHeader* step;
    };
    /// What the program does in the present step. Throws Error{kUsage} for an unknown program, Error{kShortfall} when
    /// there is no memory for the programs.
    Present present(ProgramId program) const;

    /// One of several programs that are submitted one after another.
    struct Link {
        ProgramId program;
        bool waits = false;    // for the host or for copies, before it
        bool watched = false;  // others wait for its end
        bool operator==(const Link&) const = default;
    };
    struct Sequence {
        std::vector<Link> links;
        std::vector<Launch> launches;
        std::vector<std::uint32_t> begin;  // of each link: index of its first launch
        std::uint64_t used = 0;            // a count that rises with each use

        std::span<const Launch> launches_of(std::size_t link) const {
            const std::size_t end = link + 1 < begin.size() ? begin[link + 1] : launches.size();
            return std::span(launches).subspan(begin[link], end - begin[link]);
        }
    };
    /// What a sequence of programs does in a step of one token; all were recorded with the same StepParams. The launch
    /// of one may take over what the next would do. Recorded when the sequence is first seen. Valid until the next
    /// call. Throws as the other present.
    const Sequence& present(std::span<const Link> links);

    /// Rises when launches that were given out are no longer valid.
    std::uint64_t generation() const { return generation_; }

private:
    friend RecordedPrograms;
    ProgramLaunches make_recording() const { return {}; }
    void drop(ProgramLaunches&) noexcept {}
    void record_both(const std::vector<Operation>& operations, const StepArea& area, ProgramLaunches& launches) const;
    void reserve_scratch(ScratchSizes& sizes, const Operation& operation) const;
    OwnBlock take_scratch(std::size_t n_bytes);
    std::unique_ptr<StepArea> take_area(const StepParams& params, const StepNeeds& needs);
    void recordings_change() noexcept;

    Recorder recorder(const StepArea& area, StepClass step_class, std::vector<Launch>& launches) const;
    void make(Sequence& sequence) const;

    Memory& memory_;
    DeviceTraits traits_;
    std::vector<Sequence> sequences_;
    std::uint64_t n_uses_ = 0;
    std::uint64_t generation_ = 0;
};

}  // namespace lfm::gpu
