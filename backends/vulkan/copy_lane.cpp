#include "backends/vulkan/copy_lane.h"

#include <cstring>

#include "backends/device/host_copies.h"
#include "memory/error.h"

namespace lfm::vulkan {

CopyLane::CopyLane(Gpu& gpu, Memory& memory, Timelines& timelines)
    : gpu_(gpu), memory_(memory), timelines_(timelines), imports_(gpu) {
    transfers_.reserve(64);
    if (!memory.direct()) staging_ = std::make_unique<Staging>(gpu, memory, imports_, stop_);
    queue_ = std::make_unique<CopyQueue>(*this);
}

void CopyLane::require_own(std::span<const CopyRegion> regions) const {
    for (const CopyRegion& region : regions)
        if (region.size > 0) memory_.part(region.to, region.size);
}

Point CopyLane::copy(std::span<const CopyRegion> regions, std::span<const Point> waits) {
    require_own(regions);
    return {Timeline::kCopy, queue_->copy(regions, waits, [this] { return timelines_.advance(Timeline::kCopy); })};
}

void CopyLane::upload(std::span<const CopyRegion> regions, const Workers& workers) {
    require_own(regions);
    if (staging_ != nullptr) return queue_->upload(regions, workers);
    HostCopies copies;
    for (const CopyRegion& region : regions)
        if (region.size > 0) copies.add(memory_.part(region.to, region.size).host, region.from, region.size);
    copies.run(&workers);
}

void CopyLane::download(std::span<std::byte> to, const std::byte* from) {
    const BufferPart part = memory_.part(from, to.size());
    if (to.empty()) return;
    if (staging_ == nullptr)
        std::memcpy(to.data(), part.host, to.size());
    else
        queue_->download({.to = to.data(), .from = from, .size = to.size()});
}

std::optional<Staging::Signal> CopyLane::uploaded() const {
    if (staging_ == nullptr) return std::nullopt;
    return staging_->last();
}

void CopyLane::carry(const CopyJob& job, const std::atomic<bool>& stop) {
    TimelineSemaphore& copy = timelines_.of(Timeline::kCopy);
    const bool down = job.kind == CopyJob::Kind::kDownload;
    transfers_.clear();
    for (const CopyRegion& region : job.regions)
        transfers_.push_back(down ? Transfer{memory_.part(region.from, region.size), nullptr, region.to, region.size}
                                  : Transfer{memory_.part(region.to, region.size), region.from, nullptr, region.size});
    if (staging_ == nullptr) {
        for (const Transfer& part : transfers_) std::memcpy(part.device.host, part.from, part.size);
        if (job.point > 0) copy.signal(job.point);
        return;
    }
    if (down) {
        const std::uint64_t computed = timelines_.of(Timeline::kCompute).value();
        return staging_->download(transfers_, {timelines_.of(Timeline::kCompute).handle(), computed});
    }
    if (job.point > 0 && gpu_.facts().copy) {
        staging_->upload(transfers_, Staging::Signal{copy.handle(), job.point}, job.workers);
        return;  // the next job fills one buffer while the device empties the other
    }
    staging_->upload(transfers_, std::nullopt, job.workers);
    staging_->finish();
    // Copies that share the queue that computes are signalled by the host: so Timelines::open may go past them at the
    // end.
    if (job.point > 0 && !stop) copy.signal(job.point);
}

}  // namespace lfm::vulkan
