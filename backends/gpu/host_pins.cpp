#include "backends/gpu/host_pins.h"

#include <unistd.h>

#include <algorithm>
#include <iterator>

namespace lfm::gpu {

HostPins::~HostPins() {
    for (const auto& [begin, chunk] : chunks_) unpin(begin);
    for (const std::byte* begin : left_in_use_) unpin(begin);
}

void HostPins::unpin(const std::byte* memory) noexcept {
    ignore(api::unpin(const_cast<std::byte*>(memory)));  // a lost device refuses; closing it unpins all
}

HostPins::Added HostPins::add(std::span<const std::byte> memory) {
    const std::lock_guard lock(mutex_);
    Added added{++n_handles_, {}};
    const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
    const auto begin = reinterpret_cast<std::uintptr_t>(memory.data());
    const std::uintptr_t end = (begin + memory.size()) / page * page;
    for (std::uintptr_t at = (begin + page - 1) / page * page; at < end;) {
        const std::size_t n = std::min<std::size_t>(end - at, kLargestChunk);
        const auto* from = reinterpret_cast<const std::byte*>(at);
        at += n;
        if (chunks_.contains(from)) continue;
        // Copies only read.
        api::Status status = api::pin(const_cast<std::byte*>(from), n, read_only_);
        if (read_only_ && status != api::kSuccess) {
            api::forget_error();
            status = api::pin(const_cast<std::byte*>(from), n, false);
        }
        if (status == api::kSuccess) {
            chunks_.emplace(from, Chunk{n, added.handle});
            added.bytes += Bytes{n};
        } else {
            api::forget_error();
            refused_ += Bytes{n};
            why_refused_ = api::error_name(status);
        }
    }
    return added;
}

void HostPins::remove(std::uint64_t handle, bool in_use) noexcept {
    const std::lock_guard lock(mutex_);
    for (auto chunk = chunks_.begin(); chunk != chunks_.end();) {
        if (chunk->second.handle != handle) {
            ++chunk;
            continue;
        }
        if (in_use)
            left_in_use_.push_back(chunk->first);
        else
            unpin(chunk->first);
        chunk = chunks_.erase(chunk);
    }
}

std::vector<std::string> HostPins::remarks() const {
    const std::lock_guard lock(mutex_);
    if (refused_ == Bytes{}) return {};
    return {"copies of " + format_bytes(refused_) +
            " go through staging: the driver refused to register that memory (" + why_refused_ + ")"};
}

HostPins::Part HostPins::find(const std::byte* memory, std::size_t size) const {
    const std::lock_guard lock(mutex_);
    const auto next = chunks_.upper_bound(memory);
    if (next != chunks_.begin()) {
        const auto& [begin, chunk] = *std::prev(next);
        const auto offset = static_cast<std::size_t>(memory - begin);
        if (offset < chunk.size) return {true, std::min(size, chunk.size - offset)};
    }
    const std::size_t before_next = next != chunks_.end() ? static_cast<std::size_t>(next->first - memory) : size;
    return {false, std::min(size, before_next)};
}

}  // namespace lfm::gpu
