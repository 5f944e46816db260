// Memory of the host that copies read without staging: pinned where it lies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "backends/gpu/platform/api.h"
#include "memory/units.h"

namespace lfm::gpu {

/// It is RAM: the device's budget does not count it. Thread-safe.
class HostPins {
public:
    /// Small enough that one refusal costs little.
    static constexpr std::size_t kLargestChunk = std::size_t{256} << 20;

    /// `read_only`: the driver can register memory that is mapped read-only.
    explicit HostPins(bool read_only) : read_only_(read_only) {}
    HostPins(const HostPins&) = delete;
    HostPins& operator=(const HostPins&) = delete;
    ~HostPins();

    struct Added {
        std::uint64_t handle = 0;
        Bytes bytes;
    };
    /// Whole pages only. What the driver refuses stays as it is: no error.
    Added add(std::span<const std::byte> memory);
    /// `in_use`: the memory stays pinned until the device is closed.
    void remove(std::uint64_t handle, bool in_use) noexcept;

    struct Part {
        bool pinned = false;
        std::size_t size = 0;  // bytes from the beginning that `pinned` holds for
    };
    Part find(const std::byte* memory, std::size_t size) const;
    /// What was refused, for people.
    std::vector<std::string> remarks() const;

private:
    struct Chunk {
        std::size_t size = 0;
        std::uint64_t handle = 0;
    };
    static void unpin(const std::byte* memory) noexcept;

    const bool read_only_;
    Bytes refused_;
    std::string why_refused_;  // the last time
    mutable std::mutex mutex_;
    std::map<const std::byte*, Chunk> chunks_;  // by begin
    std::vector<const std::byte*> left_in_use_;
    std::uint64_t n_handles_ = 0;
};

}  // namespace lfm::gpu
