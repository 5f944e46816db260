// Memory that a backend takes for itself: step parameters, scratch, staging.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "backends/device.h"

namespace lfm {

/// `Memory` is the backend's: it allocates and releases, and outlives the block. Move-only.
template <typename Memory>
class OwnBlock {
public:
    OwnBlock() = default;
    template <typename Kind>
    OwnBlock(Memory& memory, Kind kind, Purpose purpose, std::size_t size)
        : memory_(&memory), place_(memory.allocate(kind, purpose, size)) {}
    OwnBlock(OwnBlock&& other) noexcept
        : memory_(std::exchange(other.memory_, nullptr)), place_(std::exchange(other.place_, {})) {}
    OwnBlock& operator=(OwnBlock&& other) noexcept {
        std::swap(memory_, other.memory_);
        std::swap(place_, other.place_);
        return *this;
    }
    ~OwnBlock() {
        if (memory_ != nullptr) memory_->release(place_, false);
    }

    std::byte* address() const { return place_.address; }
    std::uint64_t handle() const { return place_.handle; }
    std::byte* host() const { return place_.host; }
    std::size_t size() const { return place_.size; }
    auto part() const { return memory_->part(place_.address, place_.size); }

private:
    Memory* memory_ = nullptr;
    DeviceBlock::Place place_;
};

}  // namespace lfm
