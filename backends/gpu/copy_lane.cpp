#include "backends/gpu/copy_lane.h"

#include <algorithm>
#include <cstring>

#include "backends/gpu/kernels/points.h"
#include "memory/error.h"

namespace lfm::gpu {

CopyLane::CopyLane(Health& health, Memory& memory, Timelines& timelines, const Lane& lane)
    : health_(health),
      memory_(memory),
      timelines_(timelines),
      lane_(lane),
      pins_(lane.pins_read_only),
      staging_(memory, MemoryKind::kShared, Purpose::kStaging, kStagingBytes) {
    for (std::size_t i = 0; i < halves_.size(); ++i) halves_[i].begin = staging_.host() + i * kHalfBytes;
    std::memset(staging_.host() + 2 * kHalfBytes, 0, 2 * sizeof(std::uint64_t));
    of_half_.reserve(64);
    require_created(api::load(raise_kernel()), raise_kernel().name);
    queue_ = std::make_unique<CopyQueue>(*this);
}

void CopyLane::require_own(std::span<const CopyRegion> regions) const {
    for (const CopyRegion& region : regions)
        if (region.size > 0) memory_.require_own(region.to, region.size);
}

Point CopyLane::copy(std::span<const CopyRegion> regions, std::span<const Point> waits) {
    require_own(regions);
    return {Timeline::kCopy, queue_->copy(regions, waits, [this] { return timelines_.advance(Timeline::kCopy); })};
}

void CopyLane::upload(std::span<const CopyRegion> regions, const Workers& workers) {
    require_own(regions);
    queue_->upload(regions, workers);
}

void CopyLane::download(std::span<std::byte> to, const std::byte* from) {
    memory_.require_own(from, to.size());
    if (!to.empty()) queue_->download({.to = to.data(), .from = from, .size = to.size()});
}

void CopyLane::carry(const CopyJob& job, const std::atomic<bool>& stop) {
    health_.check(api::set_device(lane_.device), "choosing the device");  // of this thread
    if (job.kind == CopyJob::Kind::kDownload) return download(job.regions.front());
    upload(job, stop);
    if (job.point > 0)
        raise(timelines_.flag(Timeline::kCopy), job.point);
    else
        finish();
}

void CopyLane::raise(std::uint64_t* flag, std::uint64_t value) {
    static const Kernel kernel = raise_kernel();
    const RaisePush push{flag, value};
    health_.check(api::launch(kernel, {}, &push, lane_.stream), kernel.name);
}

void CopyLane::send(void* to, const void* from, std::size_t size) {
    health_.check(api::copy(to, from, size, lane_.stream), "a copy");
}

CopyLane::Half* CopyLane::next_half(const std::atomic<bool>& stop) {
    Half& half = halves_[turn_++ % halves_.size()];
    if (!timelines_.wait_for_flag(staging_.host() + 2 * kHalfBytes, half.busy_until, stop)) return nullptr;
    half.used = 0;
    return &half;
}

std::size_t CopyLane::stage(Half& half, std::byte* to, const std::byte* from, std::size_t size) {
    const std::size_t n = std::min(size, kHalfBytes - half.used);
    copies_.add(half.begin + half.used, from, n);
    of_half_.push_back({.to = to, .from = half.begin + half.used, .size = n});
    half.used = std::min(kHalfBytes, (half.used + n + 63) / 64 * 64);
    return n;
}

void CopyLane::send(Half& half, const Workers* workers) {
    copies_.run(workers);
    for (const CopyRegion& part : of_half_) send(part.to, part.from, part.size);
    of_half_.clear();
    half.busy_until = ++n_sent_;
    raise(reinterpret_cast<std::uint64_t*>(staging_.address() + 2 * kHalfBytes), n_sent_);
}

bool CopyLane::send_direct(const CopyRegion& part, const std::atomic<bool>& stop) {
    constexpr std::uint64_t kEvery = kMostOutstanding / 4;  // copies, until the flag is raised again
    const std::size_t flag = 2 * kHalfBytes + sizeof(std::uint64_t);
    if (n_direct_ >= kMostOutstanding &&
        !timelines_.wait_for_flag(staging_.host() + flag, (n_direct_ - kMostOutstanding) / kEvery * kEvery, stop))
        return false;
    send(part.to, part.from, part.size);
    if (++n_direct_ % kEvery == 0) raise(reinterpret_cast<std::uint64_t*>(staging_.address() + flag), n_direct_);
    return true;
}

void CopyLane::upload(const CopyJob& job, const std::atomic<bool>& stop) {
    Half* half = nullptr;
    for (const CopyRegion& region : job.regions)
        for (std::size_t at = 0; at < region.size;) {
            const HostPins::Part source = pins_.find(region.from + at, region.size - at);
            if (source.pinned) {
                if (!send_direct({region.to + at, region.from + at, source.size}, stop)) return;
                at += source.size;
                continue;
            }
            if (half != nullptr && half->used == kHalfBytes) {
                send(*half, job.workers);
                half = nullptr;
            }
            if (half == nullptr) half = next_half(stop);
            if (half == nullptr) return;
            at += stage(*half, region.to + at, region.from + at, source.size);
        }
    if (half != nullptr) send(*half, job.workers);
}

void CopyLane::download(const CopyRegion& region) {
    // What the compute lane wrote before is seen: it is idle between steps.
    finish();
    for (std::size_t at = 0; at < region.size;) {
        const std::size_t n = std::min(region.size - at, kHalfBytes);
        send(staging_.address(), region.from + at, n);
        finish();
        std::memcpy(region.to + at, staging_.host(), n);
        at += n;
    }
}

}  // namespace lfm::gpu
