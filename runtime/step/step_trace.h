// The trace of a model's steps: one lane for the host, the device and the bus, and one for the steps.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

#include "backends/virtual_clock.h"
#include "runtime/step/layer_program.h"
#include "runtime/step/trace.h"

namespace lfm {

class StepTrace {
public:
    enum class Lane : std::uint8_t { kSteps, kOnHost, kOnDevice, kBus };
    using Clock = std::chrono::steady_clock;

    /// `trace` outlives it.
    StepTrace(Trace& trace, std::span<const Stage> program);

    /// The device's ends are when the host saw them.
    void record(Lane lane, std::uint32_t stage, Clock::time_point begin, Clock::time_point end);
    void record_step(std::uint32_t n_tokens, std::uint32_t position, Clock::time_point begin, Clock::time_point end);
    /// A simulated step: events of virtual time, from 0; steps follow one another.
    void record_virtual(std::span<const VirtualEvent> events, double step_seconds, std::uint32_t n_tokens,
                        std::uint32_t position);

private:
    TraceLane lane(Lane lane) const { return lanes_[static_cast<std::size_t>(lane)]; }

    Trace& trace_;
    std::vector<TraceLane> lanes_;
    std::vector<TraceName> stages_;
    TraceName step_, n_tokens_, position_;
    double virtual_now_ = 0;
};

}  // namespace lfm
