// Copies weights to a device with several threads: page faults of a cold file and copying are what takes the time.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "backends/device.h"
#include "memory/units.h"

namespace lfm {

/// Called from time to time while loading.
using LoadProgress = std::function<void(Bytes done, Bytes total)>;

struct Uploaded {
    Bytes bytes;
    double seconds = 0;

    double gb_per_s() const { return seconds > 0 ? static_cast<double>(bytes.value) / 1e9 / seconds : 0; }
    Uploaded& operator+=(const Uploaded& other) {
        bytes += other.bytes;
        seconds += other.seconds;
        return *this;
    }
};

/// Between steps. Blocks. `progress` may be empty, and may throw to stop the copying.
Uploaded upload(Device& device, std::span<const CopyRegion> regions, std::uint32_t n_threads,
                const LoadProgress& progress);

}  // namespace lfm
