#include "backends/vulkan/step_area.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "memory/error.h"

namespace lfm::vulkan {
namespace {

// Distinct grids of all programs over one StepParams; a layer program has some thirty.
constexpr std::size_t kMaxGrids = 512;

constexpr std::size_t align(std::size_t n) { return (n + 63) / 64 * 64; }

}  // namespace

void StepNeeds::include(const Operation& operation) {
    if (const auto* rope = std::get_if<QkNormRopeArgs>(&operation)) head_dim = std::max(head_dim, rope->head_dim);
    if (const auto* route = std::get_if<RouteArgs>(&operation)) {
        n_moe_layer = std::max(n_moe_layer, route->moe_layer + 1);
        n_expert_used = std::max(n_expert_used, route->n_expert_used);
    }
}

StepArea::StepArea(Memory& memory, const BackendLimits& limits, const StepParams& params, const StepNeeds& needs)
    : limits_(limits), source_(&params), needs_(needs) {
    grids_at_ = align(sizeof(StepHeader));
    tokens_at_ = grids_at_ + align(kMaxGrids * sizeof(VkDispatchIndirectCommand));
    rope_at_ = tokens_at_ + align(std::size_t{limits.n_batch} * sizeof(std::int32_t));
    forced_at_ = rope_at_ + align(std::size_t{limits.n_batch} * needs.head_dim * sizeof(float));
    const std::size_t size = forced_at_ + align(std::size_t{needs.n_moe_layer} * limits.n_batch * needs.n_expert_used *
                                                sizeof(std::int32_t));
    grids_.reserve(kMaxGrids);
    block_ = OwnBlock(memory, MemoryUse::kWritten, Purpose::kScratch, size);
    std::memset(block_.host(), 0, size);
}

bool StepArea::holds(const StepNeeds& needs) const {
    return needs.head_dim <= needs_.head_dim && needs.n_moe_layer <= needs_.n_moe_layer &&
           needs.n_expert_used <= needs_.n_expert_used;
}

StepClass StepArea::step_class() const {
    return header_.n_tokens == 1 && header_.n_outputs <= 1 ? StepClass::kOne : StepClass::kMany;
}

std::uint32_t StepArea::n_groups(const Axis& axis) const {
    if (!axis.rows) return axis.groups;
    return groups_of(*axis.rows == RowSet::kTokens ? header_.n_tokens : header_.n_outputs, axis.per_group) *
           axis.groups;
}

void StepArea::write_grid(std::size_t i) {
    const VkDispatchIndirectCommand counts{n_groups(grids_[i].x), n_groups(grids_[i].y), n_groups(grids_[i].z)};
    std::memcpy(block_.host() + grids_at_ + i * sizeof counts, &counts, sizeof counts);
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
    part.offset += grids_at_ + i * sizeof(VkDispatchIndirectCommand);
    return part;
}

void StepArea::fill() {
    const StepParams& step = *source_;
    if (step.n_tokens > limits_.n_batch || step.n_outputs > step.n_tokens || step.position > limits_.n_ctx ||
        step.n_tokens > limits_.n_ctx - step.position)
        throw Error(ErrorCode::kUsage, "step",
                    "expected at most " + std::to_string(limits_.n_batch) + " tokens within a context of " +
                        std::to_string(limits_.n_ctx) + ", found " + std::to_string(step.n_tokens) + " from position " +
                        std::to_string(step.position));
    const std::uint64_t base = block_.address();
    header_ = {step.n_tokens,     step.position,   step.n_outputs,   step.forced_experts != nullptr ? 1u : 0u,
               base + tokens_at_, base + rope_at_, base + forced_at_};
    std::memcpy(block_.host(), &header_, sizeof header_);
    if (step.token_ids != nullptr)
        std::memcpy(block_.host() + tokens_at_, step.token_ids, step.n_tokens * sizeof(std::int32_t));
    if (step.rope != nullptr)
        std::memcpy(block_.host() + rope_at_, step.rope, std::size_t{step.n_tokens} * needs_.head_dim * sizeof(float));
    if (step.forced_experts != nullptr)
        std::memcpy(block_.host() + forced_at_, step.forced_experts,
                    std::size_t{needs_.n_moe_layer} * step.n_tokens * needs_.n_expert_used * sizeof(std::int32_t));
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
    return mirror->block.address();
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
