#include "backends/vulkan/recorder.h"

#include <algorithm>
#include <string>

#include "backends/vulkan/pipelines.h"
#include "backends/vulkan/step_area.h"
#include "memory/error.h"

namespace lfm::vulkan {
namespace {

constexpr std::uint32_t kMaxGroups = 65535;  // what every driver allows

/// In steps of one token the rows are known: an axis over them need not be read from memory.
Axis settled(const Axis& axis, StepClass step_class) {
    if (step_class == StepClass::kOne && (axis.count == StepCount::kTokens || axis.count == StepCount::kSingles))
        return fixed(axis.groups);
    return axis;
}

}  // namespace

Kernel::Kernel(std::string_view name, std::initializer_list<std::uint32_t> values) : shader(name) {
    if (values.size() > kMaxConstants)
        throw Error(ErrorCode::kUnsupportedModel, name, "expected at most 8 constants, found more");
    std::ranges::copy(values, constants.begin());
    n_constants = static_cast<std::uint32_t>(values.size());
}

std::uint64_t Recorder::params() const { return parts_.step->address(); }

std::uint64_t Recorder::expert_table(const ExpertTable* table) const { return parts_.experts->block(table).handle(); }

void Recorder::dispatch(const Kernel& kernel, std::span<const std::byte> push, const Grid& grid) {
    const Grid shape{settled(grid.x, parts_.step_class), settled(grid.y, parts_.step_class),
                     settled(grid.z, parts_.step_class)};
    for (const Axis* axis : {&shape.x, &shape.y, &shape.z})
        if (most_groups(*axis, limits()) > kMaxGroups)
            throw Error(
                ErrorCode::kUnsupportedModel, kernel.shader,
                "expected at most 65535 groups along an axis, found " + std::to_string(most_groups(*axis, limits())));
    if (barrier_due_) {
        const VkMemoryBarrier barrier{.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                                      .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT,
                                      .dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT};
        vkCmdPipelineBarrier(parts_.commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
                             VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, 0, 1, &barrier, 0, nullptr, 0, nullptr);
        barrier_due_ = false;
    }
    vkCmdBindPipeline(parts_.commands, VK_PIPELINE_BIND_POINT_COMPUTE, parts_.pipelines->of(kernel));
    vkCmdPushConstants(parts_.commands, parts_.pipelines->layout(), VK_SHADER_STAGE_COMPUTE_BIT, 0,
                       static_cast<std::uint32_t>(push.size()), push.data());
    if (!shape.x.count && !shape.y.count && !shape.z.count) {
        vkCmdDispatch(parts_.commands, shape.x.groups, shape.y.groups, shape.z.groups);
    } else {
        const BufferPart place = parts_.step->place_of(shape);
        vkCmdDispatchIndirect(parts_.commands, place.buffer, place.offset);
    }
    has_dispatched_ = true;
}

void Recorder::barrier() { barrier_due_ = has_dispatched_; }

}  // namespace lfm::vulkan
