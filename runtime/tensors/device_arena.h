// Device memory for many pieces: first their sizes are added, then a few large blocks are taken that hold them all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "backends/device.h"

namespace lfm {

class DeviceArena {
public:
    DeviceArena() = default;

    /// A piece of `size` bytes, 16-byte aligned. Returns its number.
    std::size_t add(std::size_t size);
    std::size_t size() const;
    /// Takes the memory. Throws Error{kShortfall} when the device refuses, or a piece is larger than its largest block.
    void allocate(Device& device, Purpose purpose);
    std::byte* address(std::size_t piece) const { return addresses_[piece]; }

private:
    std::vector<std::size_t> sizes_;  // rounded up
    std::vector<DeviceBlock> blocks_;
    std::vector<std::byte*> addresses_;
};

}  // namespace lfm
