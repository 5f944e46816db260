#include "backends/vulkan/staging.h"

#include <algorithm>
#include <cstring>

namespace lfm::vulkan {

Staging::Staging(Gpu& gpu, Memory& memory, const HostImports& imports, const std::atomic<bool>& stop)
    : gpu_(gpu),
      imports_(imports),
      stop_(stop),
      block_(memory, MemoryUse::kShared, Purpose::kStaging, 2 * kHalfBytes),
      part_(block_.part()),
      copied_(gpu, Signaller::kDevice) {
    const VkCommandPoolCreateInfo pool_info{.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                            .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
                                            .queueFamilyIndex = gpu.copy_place().family};
    require_created(vkCreateCommandPool(gpu.handle(), &pool_info, nullptr, &pool_), "vkCreateCommandPool");
    for (Half& half : halves_) {
        const VkCommandBufferAllocateInfo info{.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                               .commandPool = pool_,
                                               .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                               .commandBufferCount = 1};
        const VkResult result = vkAllocateCommandBuffers(gpu.handle(), &info, &half.commands);
        if (result != VK_SUCCESS) vkDestroyCommandPool(gpu.handle(), pool_, nullptr);
        require_created(result, "vkAllocateCommandBuffers");
    }
}

Staging::~Staging() { vkDestroyCommandPool(gpu_.handle(), pool_, nullptr); }

std::size_t Staging::begin_of(const Half& half) const {
    return static_cast<std::size_t>(&half - halves_.data()) * kHalfBytes;
}

Staging::Half* Staging::begin() {
    Half& half = halves_[turn_++ % halves_.size()];
    if (!copied_.wait(half.busy_until, stop_)) return nullptr;
    const VkCommandBufferBeginInfo info{.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                        .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT};
    gpu_.health().check(vkBeginCommandBuffer(half.commands, &info), "vkBeginCommandBuffer");
    return &half;
}

void Staging::submit(Half& half, std::optional<Signal> wait, std::optional<Signal> done) {
    gpu_.health().check(vkEndCommandBuffer(half.commands), "vkEndCommandBuffer");
    half.busy_until = value_.load(std::memory_order_relaxed) + 1;
    const std::array semaphores{copied_.handle(), done ? done->semaphore : VK_NULL_HANDLE};
    const std::array values{half.busy_until, done ? done->value : 0};
    const std::uint32_t n_signals = done ? 2 : 1;
    const VkPipelineStageFlags stage = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
    const VkTimelineSemaphoreSubmitInfo timeline{.sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
                                                 .waitSemaphoreValueCount = wait ? 1u : 0u,
                                                 .pWaitSemaphoreValues = wait ? &wait->value : nullptr,
                                                 .signalSemaphoreValueCount = n_signals,
                                                 .pSignalSemaphoreValues = values.data()};
    const VkSubmitInfo batch{.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
                             .pNext = &timeline,
                             .waitSemaphoreCount = wait ? 1u : 0u,
                             .pWaitSemaphores = wait ? &wait->semaphore : nullptr,
                             .pWaitDstStageMask = &stage,
                             .commandBufferCount = 1,
                             .pCommandBuffers = &half.commands,
                             .signalSemaphoreCount = n_signals,
                             .pSignalSemaphores = semaphores.data()};
    gpu_.submit_copy(batch);
    value_.store(half.busy_until, std::memory_order_release);
}

void Staging::upload(std::span<const Transfer> transfers, std::optional<Signal> done, const Workers* workers) {
    Half* half = begin();
    std::size_t used = 0;
    for (const Transfer& transfer : transfers)
        for (std::size_t at = 0; half != nullptr && at < transfer.size;) {
            const HostImports::Part source = imports_.find(transfer.from + at, transfer.size - at);
            if (source.buffer != VK_NULL_HANDLE) {
                const VkBufferCopy copy{source.offset, transfer.device.offset + at, source.size};
                vkCmdCopyBuffer(half->commands, source.buffer, transfer.device.buffer, 1, &copy);
                at += source.size;
                continue;
            }
            if (used == kHalfBytes) {
                copies_.run(workers);
                submit(*half, std::nullopt, std::nullopt);
                half = begin();
                used = 0;
                continue;
            }
            const std::size_t n = std::min(source.size, kHalfBytes - used);
            const std::size_t from = begin_of(*half) + used;
            copies_.add(block_.host() + from, transfer.from + at, n);
            const VkBufferCopy copy{part_.offset + from, transfer.device.offset + at, n};
            vkCmdCopyBuffer(half->commands, part_.buffer, transfer.device.buffer, 1, &copy);
            at += n;
            used = std::min(kHalfBytes, (used + n + 63) / 64 * 64);
        }
    if (half == nullptr) return;
    copies_.run(workers);
    submit(*half, std::nullopt, done);
}

void Staging::download(std::span<const Transfer> transfers, Signal written) {
    for (const Transfer& transfer : transfers)
        for (std::size_t at = 0; at < transfer.size;) {
            Half* const half = begin();
            if (half == nullptr) return;
            const std::size_t n = std::min(transfer.size - at, kHalfBytes);
            const VkBufferCopy copy{transfer.device.offset + at, part_.offset + begin_of(*half), n};
            vkCmdCopyBuffer(half->commands, transfer.device.buffer, part_.buffer, 1, &copy);
            const VkMemoryBarrier barrier{.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                                          .srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT,
                                          .dstAccessMask = VK_ACCESS_HOST_READ_BIT};
            vkCmdPipelineBarrier(half->commands, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_HOST_BIT, 0, 1,
                                 &barrier, 0, nullptr, 0, nullptr);
            submit(*half, written, std::nullopt);
            finish();
            if (stop_.load(std::memory_order_acquire)) return;
            std::memcpy(transfer.to + at, block_.host() + begin_of(*half), n);
            at += n;
        }
}

void Staging::finish() { copied_.wait(value_.load(std::memory_order_relaxed), stop_); }

}  // namespace lfm::vulkan
