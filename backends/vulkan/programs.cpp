#include "backends/vulkan/programs.h"

#include <algorithm>
#include <string>
#include <utility>

#include "backends/vulkan/operations/operations.h"
#include "memory/error.h"

namespace lfm::vulkan {
namespace {

void place_barrier(VkCommandBuffer commands, VkPipelineStageFlags from, VkAccessFlags written, VkPipelineStageFlags to,
                   VkAccessFlags used) {
    const VkMemoryBarrier barrier{
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER, .srcAccessMask = written, .dstAccessMask = used};
    vkCmdPipelineBarrier(commands, from, to, 0, 1, &barrier, 0, nullptr, 0, nullptr);
}

}  // namespace

Programs::Programs(Gpu& gpu, Memory& memory, const BackendLimits& limits, ActivationKind activations, DeviceId self)
    : gpu_(gpu),
      memory_(memory),
      limits_(limits),
      traits_{gpu.facts().subgroup_size, gpu.facts().shared_memory, self, activations},
      pipelines_(gpu, activations),
      scratch_sizes_(limits),
      experts_(memory, self) {
    const VkCommandPoolCreateInfo info{.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                       .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
                                       .queueFamilyIndex = gpu.facts().compute.family};
    require_created(vkCreateCommandPool(gpu.handle(), &info, nullptr, &pool_), "vkCreateCommandPool");
}

Programs::~Programs() { vkDestroyCommandPool(gpu_.handle(), pool_, nullptr); }

ProgramId Programs::record(std::span<const Operation> operations, const StepParams& params) {
    add(operations, params);
    try {
        prepare();
    } catch (...) {
        drop_last();
        throw;
    }
    return {static_cast<std::uint32_t>(programs_.size() - 1)};
}

void Programs::add(std::span<const Operation> operations, const StepParams& params) {
    const auto area = std::ranges::find(areas_, &params, &Area::params);
    Program program{.operations = {operations.begin(), operations.end()},
                    .area = static_cast<std::size_t>(area - areas_.begin())};
    if (area == areas_.end()) areas_.push_back({&params, nullptr});
    std::array<VkCommandBuffer, 2> buffers{};
    const VkCommandBufferAllocateInfo info{.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                           .commandPool = pool_,
                                           .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                           .commandBufferCount = buffers.size()};
    require_created(vkAllocateCommandBuffers(gpu_.handle(), &info, buffers.data()), "vkAllocateCommandBuffers");
    program.one = buffers[0];
    program.many = buffers[1];
    programs_.push_back(std::move(program));
}

void Programs::drop_last() noexcept {
    const std::array buffers{programs_.back().one, programs_.back().many};
    vkFreeCommandBuffers(gpu_.handle(), pool_, buffers.size(), buffers.data());
    const std::size_t area = programs_.back().area;
    programs_.pop_back();
    // An area that came with it is the last.
    if (std::ranges::find(programs_, area, &Program::area) == programs_.end()) areas_.pop_back();
    if (recorded_ || programs_.empty()) return;
    try {
        prepare();
    } catch (...) {
        // Stays unrecorded: commands() says so, and the next record tries again.
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
    for (const Program& program : programs_) record_both(program);
    recorded_ = true;
}

void Programs::take_memory(const ScratchSizes& scratch, std::span<const StepNeeds> needs) {
    // What was too small goes before the larger is taken, so that both never count at once.
    const bool regrow = !scratch.within(scratch_sizes_) || scratch_.size() < scratch_sizes_.total();
    if (regrow) {
        const OwnBlock old = std::exchange(scratch_, OwnBlock());
        scratch_sizes_ = ScratchSizes(limits_);
    }
    for (std::size_t i = 0; i < areas_.size(); ++i)
        if (areas_[i].step != nullptr && !areas_[i].step->holds(needs[i])) areas_[i].step.reset();
    if (regrow && scratch.total() > 0)
        scratch_ = OwnBlock(memory_, MemoryUse::kDevice, Purpose::kScratch, scratch.total());
    if (regrow) scratch_sizes_ = scratch;
    for (std::size_t i = 0; i < areas_.size(); ++i)
        if (areas_[i].step == nullptr)
            areas_[i].step = std::make_unique<StepArea>(memory_, limits_, *areas_[i].params, needs[i]);
}

void Programs::record_both(const Program& program) {
    record_commands(program, StepClass::kOne, program.one);
    record_commands(program, StepClass::kMany, program.many);
}

void Programs::record_commands(const Program& program, StepClass step_class, VkCommandBuffer commands) {
    // A program may be enqueued again while it is still enqueued.
    const VkCommandBufferBeginInfo info{.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                        .flags = VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT};
    require_created(vkBeginCommandBuffer(commands, &info), "vkBeginCommandBuffer");
    // After earlier programs, and after what the host wrote before it let this one start.
    place_barrier(commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_HOST_BIT,
                  VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_HOST_WRITE_BIT,
                  VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_DRAW_INDIRECT_BIT,
                  VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_INDIRECT_COMMAND_READ_BIT);
    Recorder recorder({.commands = commands,
                       .step_class = step_class,
                       .pipelines = &pipelines_,
                       .step = areas_[program.area].step.get(),
                       .experts = &experts_,
                       .scratch = &scratch_sizes_,
                       .scratch_address = scratch_.handle(),
                       .traits = traits_});
    for (const Operation& operation : program.operations) {
        std::visit([&](const auto& args) { lower(recorder, args); }, operation);
        recorder.barrier();
    }
    place_barrier(commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_ACCESS_SHADER_WRITE_BIT,
                  VK_PIPELINE_STAGE_HOST_BIT, VK_ACCESS_HOST_READ_BIT | VK_ACCESS_HOST_WRITE_BIT);
    require_created(vkEndCommandBuffer(commands), "vkEndCommandBuffer");
}

void Programs::begin_step() {
    for (const Area& area : areas_)
        if (area.step != nullptr) area.step->fill();
    experts_.refresh();
}

VkCommandBuffer Programs::commands(ProgramId program) const {
    if (program.value >= programs_.size())
        throw Error(ErrorCode::kUsage, "submit",
                    "expected a program below " + std::to_string(programs_.size()) + ", found " +
                        std::to_string(program.value));
    if (!recorded_)
        throw Error(ErrorCode::kShortfall, "submit", "expected scratch memory for the programs, found none");
    const Program& found = programs_[program.value];
    return areas_[found.area].step->step_class() == StepClass::kOne ? found.one : found.many;
}

}  // namespace lfm::vulkan
