#include "backends/gpu/step_area.h"

#include <algorithm>
#include <cstddef>

namespace lfm::gpu {

static_assert(sizeof(Step) == sizeof(StepHeader) && offsetof(Step, window) == offsetof(StepHeader, window) &&
              offsetof(Step, token_ids) == offsetof(StepHeader, token_ids) &&
              offsetof(Step, forced_experts) == offsetof(StepHeader, forced_experts));
static_assert(sizeof(ExpertEntry) == sizeof(MirroredExpert) &&
              offsetof(ExpertEntry, down) == offsetof(MirroredExpert, down) &&
              offsetof(ExpertEntry, held) == offsetof(MirroredExpert, is_held));

StepArea::StepArea(Memory& memory, const BackendLimits& limits, const StepParams& params, const StepNeeds& needs)
    : source_(&params), image_(limits, needs, kMostTickets * sizeof(std::uint32_t)), block_(memory, image_.size()) {
    std::fill_n(block_.host(), image_.size(), std::byte{0});
}

void StepArea::send(Health& health, api::Stream stream) {
    header_ = image_.fill(block_.host(), reinterpret_cast<std::uint64_t>(block_.address()), *source_);
    health.check(block_.send(0, image_.used(header_), stream), "copying the step");
    health.check(block_.send(image_.forced_at(), image_.forced_used(header_), stream), "copying forced experts");
}

}  // namespace lfm::gpu
