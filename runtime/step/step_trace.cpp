#include "runtime/step/step_trace.h"

namespace lfm {
namespace {

double seconds(StepTrace::Clock::time_point time) {
    return std::chrono::duration<double>(time.time_since_epoch()).count();
}

}  // namespace

StepTrace::StepTrace(Trace& trace, std::span<const Stage> program) : trace_(trace) {
    for (const char* name : {"steps", "host", "device", "bus"}) lanes_.push_back(trace_.add_lane(name));
    for (const Stage& stage : program) stages_.push_back(trace_.name(stage.name));
    step_ = trace_.name("step");
    n_tokens_ = trace_.name("tokens");
    position_ = trace_.name("position");
}

void StepTrace::record(Lane where, std::uint32_t stage, Clock::time_point begin, Clock::time_point end) {
    trace_.record({.lane = lane(where), .name = stages_[stage], .start = seconds(begin), .end = seconds(end)});
}

void StepTrace::record_step(std::uint32_t n_tokens, std::uint32_t position, Clock::time_point begin,
                            Clock::time_point end) {
    trace_.record({.lane = lane(Lane::kSteps),
                   .name = step_,
                   .start = seconds(begin),
                   .end = seconds(end),
                   .numbers = {TraceNumber{n_tokens_, double(n_tokens)}, TraceNumber{position_, double(position)}}});
}

void StepTrace::record_virtual(std::span<const VirtualEvent> events, double step_seconds, std::uint32_t n_tokens,
                               std::uint32_t position) {
    for (const VirtualEvent& event : events) {
        const Lane where = event.lane == Timeline::kCompute ? Lane::kOnDevice
                           : event.lane == Timeline::kCopy  ? Lane::kBus
                                                            : Lane::kOnHost;
        trace_.record({.lane = lane(where),
                       .name = trace_.name(event.name),
                       .start = virtual_now_ + event.start,
                       .end = virtual_now_ + event.end});
    }
    trace_.record({.lane = lane(Lane::kSteps),
                   .name = step_,
                   .start = virtual_now_,
                   .end = virtual_now_ + step_seconds,
                   .numbers = {TraceNumber{n_tokens_, double(n_tokens)}, TraceNumber{position_, double(position)}}});
    virtual_now_ += step_seconds;
}

}  // namespace lfm
