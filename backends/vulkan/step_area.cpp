#include "backends/vulkan/step_area.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "memory/error.h"

namespace lfm::vulkan {
namespace {

// Distinct grids of all programs over one StepParams; a layer program has some thirty.
constexpr std::size_t kMaxGrids = 512;

}  // namespace

StepArea::StepArea(Memory& memory, const BackendLimits& limits, const StepParams& params, const StepNeeds& needs)
    : source_(&params),
      image_(limits, needs, kMaxGrids * sizeof(VkDispatchIndirectCommand)),
      block_(memory, MemoryUse::kWritten, Purpose::kScratch, image_.size()) {
    grids_.reserve(kMaxGrids);
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
        if (grids_.size() == kMaxGrids)
            throw Error(ErrorCode::kUnsupportedModel, "Vulkan backend",
                        "expected at most " + std::to_string(kMaxGrids) + " shapes of work, found more");
        grids_.push_back(grid);
        write_grid(i);
    }
    BufferPart part = block_.part();
    part.offset += image_.gap_at() + i * sizeof(VkDispatchIndirectCommand);
    return part;
}

void StepArea::fill() {
    header_ = image_.fill(block_.host(), block_.handle(), *source_);
    for (std::size_t i = 0; i < grids_.size(); ++i) write_grid(i);
}

void ExpertMirrors::include(const Operation& operation) {
    const auto* ffn = std::get_if<ExpertFfnArgs>(&operation);
    if (ffn == nullptr || ffn->experts == nullptr) return;
    if (std::ranges::find(mirrors_, ffn->experts, &Mirror::table) != mirrors_.end()) return;
    const std::size_t n = std::size_t{ffn->experts->n_layer()} * ffn->experts->n_expert();
    mirrors_.push_back(
        {ffn->experts, OwnBlock(memory_, MemoryUse::kWritten, Purpose::kScratch, n * 4 * sizeof(std::uint64_t)), {}});
}

std::uint64_t ExpertMirrors::address(const ExpertTable* table) const {
    const auto mirror = std::ranges::find(mirrors_, table, &Mirror::table);
    if (mirror == mirrors_.end())
        throw Error(ErrorCode::kUsage, "Vulkan backend", "expected an expert table of the program, found another");
    return mirror->block.handle();
}

void ExpertMirrors::refresh() {
    for (Mirror& mirror : mirrors_) {
        const ExpertTable& table = *mirror.table;
        if (mirror.version == table.version()) continue;
        std::byte* to = mirror.block.host();
        for (std::uint32_t layer = 0; layer < table.n_layer(); ++layer)
            for (std::uint32_t i = 0; i < table.n_expert(); ++i) {
                const ExpertSlot& slot = table[{LayerId{layer}, i}];
                const std::uint64_t entry[] = {address_of(slot.gate), address_of(slot.up), address_of(slot.down),
                                               slot.holder == self_ ? 1u : 0u};
                std::memcpy(to, entry, sizeof entry);
                to += sizeof entry;
            }
        mirror.version = table.version();
    }
}

}  // namespace lfm::vulkan
