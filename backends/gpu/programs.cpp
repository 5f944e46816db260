#include "backends/gpu/programs.h"

#include <algorithm>
#include <string>
#include <utility>

#include "backends/gpu/fusion.h"
#include "backends/gpu/ops.h"
#include "memory/error.h"

namespace lfm::gpu {

ProgramId Programs::record(std::span<const Operation> operations, const StepParams& params) {
    const auto area = std::ranges::find(areas_, &params, &Area::params);
    programs_.push_back({.operations = {operations.begin(), operations.end()},
                         .area = static_cast<std::size_t>(area - areas_.begin())});
    try {
        if (area == areas_.end()) areas_.push_back({&params, nullptr});
        prepare();
    } catch (...) {
        drop_last();
        throw;
    }
    return {static_cast<std::uint32_t>(programs_.size() - 1)};
}

void Programs::drop_last() noexcept {
    const std::size_t area = programs_.back().area;
    programs_.pop_back();
    // An area that came with it is the last.
    if (std::ranges::find(programs_, area, &Program::area) == programs_.end() && area + 1 == areas_.size())
        areas_.pop_back();
    if (recorded_ || programs_.empty()) return;
    try {
        prepare();
    } catch (...) {
        // Stays unrecorded: present() says so, and the next record tries again.
    }
}

void Programs::prepare() {
    ScratchSizes scratch(limits_);
    std::vector<StepNeeds> needs(areas_.size());
    for (const Program& program : programs_)
        for (const Operation& operation : program.operations) {
            std::visit([&](const auto& args) { reserve(scratch, args); }, operation);
            needs[program.area].include(operation);
            experts_.include(operation);
        }
    bool fits = recorded_ && scratch.within(scratch_sizes_);
    for (std::size_t i = 0; i < areas_.size(); ++i)
        fits = fits && areas_[i].step != nullptr && areas_[i].step->holds(needs[i]);
    if (fits) return record_both(programs_.back());
    recorded_ = false;
    take_memory(scratch, needs);
    for (Program& program : programs_) record_both(program);
    recorded_ = true;
}

void Programs::take_memory(const ScratchSizes& scratch, std::span<const StepNeeds> needs) {
    ++generation_;
    // What was too small goes before the larger is taken, so that both never count at once.
    const bool regrow = !scratch.within(scratch_sizes_) || scratch_.size() < scratch_sizes_.total();
    if (regrow) {
        const OwnBlock old = std::exchange(scratch_, OwnBlock());
        scratch_sizes_ = ScratchSizes(limits_);
    }
    for (std::size_t i = 0; i < areas_.size(); ++i)
        if (areas_[i].step != nullptr && !areas_[i].step->holds(needs[i])) areas_[i].step.reset();
    if (regrow && scratch.total() > 0)
        scratch_ = OwnBlock(memory_, MemoryKind::kOwn, Purpose::kScratch, scratch.total());
    if (regrow) scratch_sizes_ = scratch;
    for (std::size_t i = 0; i < areas_.size(); ++i)
        if (areas_[i].step == nullptr)
            areas_[i].step = std::make_unique<StepArea>(memory_, limits_, *areas_[i].params, needs[i]);
}

void Programs::record_both(Program& program) {
    record_launches(program, StepClass::kOne, program.one);
    record_launches(program, StepClass::kMany, program.many);
}

void Programs::record_launches(const Program& program, StepClass step_class, std::vector<Launch>& launches) {
    launches.clear();
    Recorder recorder({.step_class = step_class,
                       .step = areas_[program.area].step->address(),
                       .tickets = areas_[program.area].step->tickets(),
                       .experts = &experts_,
                       .scratch = &scratch_sizes_,
                       .scratch_address = scratch_.address(),
                       .traits = traits_},
                      launches);
    lower_all(recorder, program.operations);
}

void Programs::send_step(Health& health, api::Stream stream) {
    for (const Area& area : areas_)
        if (area.step != nullptr) area.step->send(health, stream);
    experts_.send(health, stream);
}

Programs::Present Programs::present(ProgramId program) const {
    if (program.value >= programs_.size())
        throw Error(ErrorCode::kUsage, "submit",
                    "expected a program below " + std::to_string(programs_.size()) + ", found " +
                        std::to_string(program.value));
    if (!recorded_) throw Error(ErrorCode::kShortfall, "submit", "expected memory for the programs, found none left");
    const Program& found = programs_[program.value];
    const StepHeader& step = areas_[found.area].step->header();
    return {class_of(step) == StepClass::kOne ? found.one : found.many, &step};
}

}  // namespace lfm::gpu
