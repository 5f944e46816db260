#include "backends/gpu/step_area.h"

#include <algorithm>
#include <cstddef>

#include "memory/error.h"

namespace lfm::gpu {

static_assert(sizeof(Step) == sizeof(StepHeader) && offsetof(Step, token_ids) == offsetof(StepHeader, token_ids) &&
              offsetof(Step, forced_experts) == offsetof(StepHeader, forced_experts));

StepArea::StepArea(Memory& memory, const BackendLimits& limits, const StepParams& params, const StepNeeds& needs)
    : source_(&params), image_(limits, needs, kMostTickets * sizeof(std::uint32_t)), block_(memory, image_.size()) {
    std::fill_n(block_.host(), image_.size(), std::byte{0});
}

void StepArea::send(Health& health, api::Stream stream) {
    header_ = image_.fill(block_.host(), reinterpret_cast<std::uint64_t>(block_.address()), *source_);
    health.check(block_.send(0, image_.used(header_), stream), "copying the step");
    health.check(block_.send(image_.forced_at(), image_.forced_used(header_), stream), "copying forced experts");
}

void ExpertMirrors::include(const Operation& operation) {
    const auto* ffn = std::get_if<ExpertFfnArgs>(&operation);
    if (ffn == nullptr || ffn->experts == nullptr) return;
    if (std::ranges::find(mirrors_, ffn->experts, &Mirror::table) != mirrors_.end()) return;
    const std::size_t n = std::size_t{ffn->experts->n_layer()} * ffn->experts->n_expert();
    mirrors_.push_back({ffn->experts, MirroredBlock(memory_, n * sizeof(ExpertEntry)), {}});
}

const ExpertEntry* ExpertMirrors::address(const ExpertTable* table) const {
    const auto mirror = std::ranges::find(mirrors_, table, &Mirror::table);
    if (mirror == mirrors_.end())
        throw Error(ErrorCode::kUsage, "GPU backend", "expected an expert table of the program, found another");
    return reinterpret_cast<const ExpertEntry*>(mirror->block.address());
}

void ExpertMirrors::send(Health& health, api::Stream stream) {
    for (Mirror& mirror : mirrors_) {
        const ExpertTable& table = *mirror.table;
        if (mirror.version == table.version()) continue;
        auto* to = reinterpret_cast<ExpertEntry*>(mirror.block.host());
        for (std::uint32_t layer = 0; layer < table.n_layer(); ++layer)
            for (std::uint32_t i = 0; i < table.n_expert(); ++i) {
                const ExpertSlot& slot = table[{LayerId{layer}, i}];
                *to++ = {slot.gate, slot.up, slot.down, slot.holder == self_ ? 1u : 0u};
            }
        health.check(mirror.block.send(0, mirror.block.size(), stream), "copying an expert table");
        mirror.version = table.version();
    }
}

}  // namespace lfm::gpu
