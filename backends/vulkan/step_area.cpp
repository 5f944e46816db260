#include "backends/vulkan/step_area.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "memory/error.h"

namespace lfm::vulkan {
namespace {

constexpr std::size_t kMostGrids = needs::vulkan::kMostGrids;
static_assert(sizeof(VkDispatchIndirectCommand) == needs::vulkan::kGridBytes);

}  // namespace

StepArea::StepArea(Memory& memory, const BackendLimits& limits, const StepParams& params, const StepNeeds& needs)
    : source_(&params),
      image_(limits, needs, kMostGrids * sizeof(VkDispatchIndirectCommand)),
      block_(memory, MemoryUse::kWritten, Purpose::kScratch, image_.size()) {
    grids_.reserve(kMostGrids);
    std::memset(block_.host(), 0, image_.size());
}

void StepArea::write_grid(std::size_t i) {
    const VkDispatchIndirectCommand counts{groups_in(grids_[i].x, header_), groups_in(grids_[i].y, header_),
                                           groups_in(grids_[i].z, header_)};
    std::memcpy(block_.host() + image_.gap_at() + i * sizeof counts, &counts, sizeof counts);
}

BufferPart StepArea::place_of(const Grid& grid) {
    const auto found = std::ranges::find(grids_, grid);
    const auto i = static_cast<std::size_t>(found - grids_.begin());
    if (found == grids_.end()) {
        if (grids_.size() == kMostGrids)
            throw Error(ErrorCode::kUnsupportedModel, "Vulkan backend",
                        "expected at most " + std::to_string(kMostGrids) + " shapes of work, found more");
        grids_.push_back(grid);
        write_grid(i);
    }
    BufferPart part = block_.part();
    part.offset += image_.gap_at() + i * sizeof(VkDispatchIndirectCommand);
    return part;
}

void StepArea::fill() {
    header_ = image_.fill(block_.host(), block_.handle(), *source_).header;
    for (std::size_t i = 0; i < grids_.size(); ++i) write_grid(i);
}

}  // namespace lfm::vulkan
