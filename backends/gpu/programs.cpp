#include "backends/gpu/programs.h"

#include <algorithm>
#include <string>
#include <utility>

#include "backends/gpu/operations/fusion.h"
#include "backends/gpu/operations/operations.h"
#include "memory/error.h"

namespace lfm::gpu {
namespace {

// A session has few, or one for each piece of a step; beyond these, those that were not used for longest are made
// again.
constexpr std::size_t kLeastSequences = 16;

}  // namespace

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
    sequences_.clear();
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
    for (const auto& [step_class, launches] :
         {std::pair{StepClass::kOne, &program.one}, {StepClass::kMany, &program.many}}) {
        launches->clear();
        Recorder recorder = this->recorder(program.area, step_class, *launches);
        lower_all(recorder, program.operations);
    }
}

Recorder Programs::recorder(std::size_t area, StepClass step_class, std::vector<Launch>& launches) const {
    return Recorder({.step_class = step_class,
                     .step = areas_[area].step->address(),
                     .tickets = areas_[area].step->tickets(),
                     .experts = &experts_,
                     .scratch = &scratch_sizes_,
                     .scratch_address = scratch_.address(),
                     .traits = traits_},
                    launches);
}

void Programs::send_step(Health& health, api::Stream stream) {
    for (const Area& area : areas_)
        if (area.step != nullptr) area.step->send(health, stream);
    experts_.send(health, stream);
}

const Programs::Program& Programs::find(ProgramId program) const {
    if (program.value >= programs_.size())
        throw Error(ErrorCode::kUsage, "submit",
                    "expected a program below " + std::to_string(programs_.size()) + ", found " +
                        std::to_string(program.value));
    if (!recorded_) throw Error(ErrorCode::kShortfall, "submit", "expected memory for the programs, found none left");
    return programs_[program.value];
}

Programs::Present Programs::present(ProgramId program) const {
    const Program& found = find(program);
    const StepHeader& step = areas_[found.area].step->header();
    return {class_of(step) == StepClass::kOne ? found.one : found.many, &step};
}

const Programs::Sequence& Programs::present(std::span<const Link> links) {
    auto found =
        std::ranges::find_if(sequences_, [&](const Sequence& each) { return std::ranges::equal(each.links, links); });
    if (found == sequences_.end()) {
        for (const Link& link : links) find(link.program);
        if (sequences_.size() >= kLeastSequences + programs_.size())
            sequences_.erase(std::ranges::min_element(sequences_, {}, &Sequence::used));
        Sequence made{.links = {links.begin(), links.end()}};
        make(made);
        found = sequences_.insert(sequences_.end(), std::move(made));
    }
    found->used = ++n_uses_;
    return *found;
}

void Programs::make(Sequence& sequence) const {
    std::vector<Operation> operations;
    std::vector<Meeting> meetings;
    bool watched = false;
    for (const Link& link : sequence.links) {
        meetings.push_back({.before = operations.size(), .tells = watched, .waits = link.waits});
        watched = link.watched;
        const std::vector<Operation>& own = programs_[link.program.value].operations;
        operations.insert(operations.end(), own.begin(), own.end());
    }
    if (sequence.links.empty()) return;
    Recorder recorder =
        this->recorder(programs_[sequence.links.front().program.value].area, StepClass::kOne, sequence.launches);
    sequence.begin = lower_all(recorder, operations, meetings);
}

}  // namespace lfm::gpu
