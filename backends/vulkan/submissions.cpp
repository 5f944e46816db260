#include "backends/vulkan/submissions.h"

#include <algorithm>

#include "memory/error.h"

namespace lfm::vulkan {
namespace {

constexpr std::size_t kBatches = 1024;  // room before anything grows; a step has two a layer

constexpr std::array<VkPipelineStageFlags, 3> kWaitStages{
    VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT};

}  // namespace

Submissions::Submissions(Gpu& gpu, Timelines& timelines) : gpu_(gpu), timelines_(timelines) {
    batches_.reserve(kBatches);
    values_.reserve(kBatches);
    infos_.reserve(kBatches);
}

void Submissions::add_wait(Batch& batch, VkSemaphore semaphore, std::uint64_t value) {
    batch.waits[batch.n_waits] = semaphore;
    batch.wait_values[batch.n_waits++] = value;
}

Point Submissions::add(VkCommandBuffer commands, std::span<const Point> waits) {
    const LatestPoints latest = latest_points(waits);
    // Earlier points of its own lane come first anyway.
    if (latest[static_cast<std::size_t>(Timeline::kCompute)] > timelines_.last(Timeline::kCompute))
        throw Error(ErrorCode::kUsage, "submit", "expected an earlier point of the compute lane, found a later one");
    Batch batch{.commands = commands};
    for (const Timeline timeline : {Timeline::kCopy, Timeline::kHostSignals})
        if (const std::uint64_t value = latest[static_cast<std::size_t>(timeline)]; value > 0)
            add_wait(batch, timelines_.of(timeline).handle(), value);
    batches_.push_back(batch);
    batches_.back().reached = timelines_.advance(Timeline::kCompute);
    return {Timeline::kCompute, batches_.back().reached};
}

void Submissions::flush(std::optional<Staging::Signal> uploaded) {
    if (batches_.empty()) return;
    if (uploaded && uploaded->value > 0) add_wait(batches_.front(), uploaded->semaphore, uploaded->value);
    const VkSemaphore compute = timelines_.of(Timeline::kCompute).handle();
    values_.resize(batches_.size());
    infos_.resize(batches_.size());
    for (std::size_t i = 0; i < batches_.size(); ++i) {
        const Batch& batch = batches_[i];
        values_[i] = {.sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
                      .waitSemaphoreValueCount = batch.n_waits,
                      .pWaitSemaphoreValues = batch.wait_values.data(),
                      .signalSemaphoreValueCount = 1,
                      .pSignalSemaphoreValues = &batch.reached};
        infos_[i] = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
                     .pNext = &values_[i],
                     .waitSemaphoreCount = batch.n_waits,
                     .pWaitSemaphores = batch.waits.data(),
                     .pWaitDstStageMask = kWaitStages.data(),
                     .commandBufferCount = 1,
                     .pCommandBuffers = &batch.commands,
                     .signalSemaphoreCount = 1,
                     .pSignalSemaphores = &compute};
    }
    gpu_.submit_compute(infos_);
    batches_.clear();
}

}  // namespace lfm::vulkan
