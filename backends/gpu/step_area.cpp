#include "backends/gpu/step_area.h"

#include <algorithm>
#include <cstddef>

#include "backends/needs/kv_pages.h"

namespace lfm::gpu {

static_assert(sizeof(Step) == sizeof(StepHeader) &&
              offsetof(Step, n_page_copies) == offsetof(StepHeader, n_page_copies) &&
              offsetof(Step, token_ids) == offsetof(StepHeader, token_ids) &&
              offsetof(Step, forced_experts) == offsetof(StepHeader, forced_experts) &&
              offsetof(Step, page_copies) == offsetof(StepHeader, page_copies));
static_assert(sizeof(SequenceRows) == sizeof(StepSequenceRows) &&
              offsetof(SequenceRows, first_row) == offsetof(StepSequenceRows, first_row) &&
              offsetof(SequenceRows, window_from) == offsetof(StepSequenceRows, window_from) &&
              offsetof(SequenceRows, save_to) == offsetof(StepSequenceRows, save_to));
static_assert(kNowhere == StepSequence::kNowhere && kPageTokens == kKvPageTokens &&
              kFromRing == static_cast<std::uint32_t>(WindowFrom::kRing) &&
              kFromSaved == static_cast<std::uint32_t>(WindowFrom::kSaved));
static_assert(sizeof(CopiedPage) == sizeof(PageCopy) && offsetof(CopiedPage, n_tokens) == offsetof(PageCopy, n_tokens));
static_assert(sizeof(ExpertEntry) == sizeof(MirroredExpert) &&
              offsetof(ExpertEntry, down) == offsetof(MirroredExpert, down) &&
              offsetof(ExpertEntry, held) == offsetof(MirroredExpert, is_held));

StepArea::StepArea(Memory& memory, const BackendLimits& limits, const StepParams& params, const StepNeeds& needs)
    : source_(&params), image_(limits, needs, kMostTickets * sizeof(std::uint32_t)), block_(memory, image_.size()) {
    std::fill_n(block_.host(), image_.size(), std::byte{0});
}

void StepArea::send(Health& health, api::Stream stream) {
    const StepImage::Filled filled =
        image_.fill(block_.host(), reinterpret_cast<std::uint64_t>(block_.address()), *source_);
    header_ = filled.header;
    health.check(block_.send(0, filled.size, stream), "copying the step");
}

}  // namespace lfm::gpu
