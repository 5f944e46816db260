#include "backends/gpu/programs.h"

#include <algorithm>
#include <string>
#include <utility>

#include "backends/gpu/operations/fusion.h"
#include "backends/gpu/operations/operations.h"
#include "memory/error.h"

namespace lfm::gpu {
namespace {

// A session has few, or one for each piece of a step. Of more than this and one for each program, the least recently
// used is dropped, and recorded again when it is needed.
constexpr std::size_t kLeastSequences = 16;

}  // namespace

Programs::Programs(Memory& memory, const BackendLimits& limits, const DeviceTraits& traits)
    : RecordedPrograms(limits,
                       ExpertMirrors(traits.self, [&memory](std::size_t n) { return MirroredBlock(memory, n); })),
      memory_(memory),
      traits_(traits) {}

void Programs::reserve_scratch(ScratchSizes& sizes, const Operation& operation) const {
    std::visit([&](const auto& args) { reserve(sizes, args); }, operation);
}

OwnBlock Programs::take_scratch(std::size_t n_bytes) {
    return OwnBlock(memory_, MemoryKind::kOwn, Purpose::kScratch, n_bytes);
}

std::unique_ptr<StepArea> Programs::take_area(const StepParams& params, const StepNeeds& needs) {
    return std::make_unique<StepArea>(memory_, limits(), params, needs);
}

void Programs::recordings_change() noexcept {
    ++generation_;
    sequences_.clear();
}

void Programs::record_both(const std::vector<Operation>& operations, const StepArea& area,
                           ProgramLaunches& launches) const {
    for (const auto& [step_class, of_class] :
         {std::pair{StepClass::kOne, &launches.one}, {StepClass::kMany, &launches.many}}) {
        of_class->clear();
        Recorder recorder = this->recorder(area, step_class, *of_class);
        lower_all(recorder, operations);
    }
}

Recorder Programs::recorder(const StepArea& area, StepClass step_class, std::vector<Launch>& launches) const {
    return Recorder({.step_class = step_class,
                     .step = area.address(),
                     .tickets = area.tickets(),
                     .experts = &experts(),
                     .scratch = &scratch_sizes(),
                     .scratch_address = scratch().address(),
                     .traits = traits_},
                    launches);
}

void Programs::send_step(Health& health, api::Stream stream) {
    for_each_area([&](StepArea& area) { area.send(health, stream); });
    experts().refresh([&](const MirroredBlock& block) {
        health.check(block.send(0, block.size(), stream), "copying an expert table");
    });
}

Programs::Present Programs::present(ProgramId program) const {
    const Program& found = find(program);
    const StepHeader& step = area_of(found).header();
    return {class_of(step) == StepClass::kOne ? found.recording.one : found.recording.many, &step};
}

const Programs::Sequence& Programs::present(std::span<const Link> links) {
    auto found =
        std::ranges::find_if(sequences_, [&](const Sequence& each) { return std::ranges::equal(each.links, links); });
    if (found == sequences_.end()) {
        for (const Link& link : links) find(link.program);
        if (sequences_.size() >= kLeastSequences + size())
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
        const std::vector<Operation>& own = find(link.program).operations;
        operations.insert(operations.end(), own.begin(), own.end());
    }
    if (sequence.links.empty()) return;
    Recorder recorder =
        this->recorder(area_of(find(sequence.links.front().program)), StepClass::kOne, sequence.launches);
    sequence.begin = lower_all(recorder, operations, meetings);
}

}  // namespace lfm::gpu
