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
    : RecordedPrograms(limits, ExpertMirrors(self,
                                             [&memory](std::size_t n) {
                                                 return OwnBlock(memory, MemoryUse::kWritten, Purpose::kScratch, n);
                                             })),
      gpu_(gpu),
      memory_(memory),
      traits_{gpu.facts().subgroup_size, gpu.facts().shared_memory, self, activations},
      pipelines_(gpu, activations) {
    const VkCommandPoolCreateInfo info{.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                       .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
                                       .queueFamilyIndex = gpu.facts().compute.family};
    require_created(vkCreateCommandPool(gpu.handle(), &info, nullptr, &pool_), "vkCreateCommandPool");
}

Programs::~Programs() {
    drop_all();
    vkDestroyCommandPool(gpu_.handle(), pool_, nullptr);
}

ProgramCommands Programs::make_recording() const {
    std::array<VkCommandBuffer, 2> buffers{};
    const VkCommandBufferAllocateInfo info{.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                           .commandPool = pool_,
                                           .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                           .commandBufferCount = buffers.size()};
    require_created(vkAllocateCommandBuffers(gpu_.handle(), &info, buffers.data()), "vkAllocateCommandBuffers");
    return {buffers[0], buffers[1]};
}

void Programs::drop(ProgramCommands& commands) noexcept {
    const std::array buffers{commands.one, commands.many};
    vkFreeCommandBuffers(gpu_.handle(), pool_, buffers.size(), buffers.data());
}

void Programs::reserve_scratch(ScratchSizes& sizes, const Operation& operation) const {
    std::visit([&](const auto& args) { reserve(sizes, args); }, operation);
}

OwnBlock Programs::take_scratch(std::size_t n_bytes) {
    return OwnBlock(memory_, MemoryUse::kDevice, Purpose::kScratch, n_bytes);
}

std::unique_ptr<StepArea> Programs::take_area(const StepParams& params, const StepNeeds& needs) {
    return std::make_unique<StepArea>(memory_, limits(), params, needs);
}

void Programs::record_both(const std::vector<Operation>& operations, StepArea& area, const ProgramCommands& commands) {
    record_commands(operations, area, StepClass::kOne, commands.one);
    record_commands(operations, area, StepClass::kMany, commands.many);
}

void Programs::record_commands(const std::vector<Operation>& operations, StepArea& area, StepClass step_class,
                               VkCommandBuffer commands) {
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
                       .step = &area,
                       .experts = &experts(),
                       .scratch = &scratch_sizes(),
                       .scratch_address = scratch().handle(),
                       .traits = traits_});
    for (const Operation& operation : operations) {
        std::visit([&](const auto& args) { lower(recorder, args); }, operation);
        recorder.barrier();
    }
    place_barrier(commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_ACCESS_SHADER_WRITE_BIT,
                  VK_PIPELINE_STAGE_HOST_BIT, VK_ACCESS_HOST_READ_BIT | VK_ACCESS_HOST_WRITE_BIT);
    require_created(vkEndCommandBuffer(commands), "vkEndCommandBuffer");
}

void Programs::begin_step() {
    for_each_area([](StepArea& area) { area.fill(); });
    experts().refresh([](const OwnBlock&) {});
}

VkCommandBuffer Programs::commands(ProgramId program) const {
    const Program& found = find(program);
    return area_of(found).step_class() == StepClass::kOne ? found.recording.one : found.recording.many;
}

}  // namespace lfm::vulkan
