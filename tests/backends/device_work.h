// Small pieces of work for tests of devices.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "backends/device.h"
#include "memory/error.h"
#include "memory/ledger.h"

namespace lfm::test {

/// The code of the Error that `call` throws; nothing when it does not.
template <typename Call>
std::optional<ErrorCode> error_of(const Call& call) {
    try {
        call();
    } catch (const Error& error) {
        return error.code();
    }
    return std::nullopt;
}

using Waits = std::vector<Point>;

inline std::vector<std::byte> pattern(std::size_t n, unsigned seed) {
    std::vector<std::byte> bytes(n);
    for (std::size_t i = 0; i < n; ++i) bytes[i] = static_cast<std::byte>((i * 31 + i / 251 + seed) & 0xff);
    return bytes;
}

/// 8 rows of numbers on the device; each run of the program doubles the first step.n_tokens of them.
struct Doubling {
    static constexpr std::uint32_t kCols = 100;

    explicit Doubling(Device& the_device)
        : device(the_device),
          block(device.allocate(MemoryKind::kShared, Purpose::kActivations, 8 * kCols * sizeof(float))) {
        const RowsView x{reinterpret_cast<float*>(block.address()), kCols};
        const Operation twice = AddArgs{x, x, x};
        program = device.record(std::span(&twice, 1), step);
        set(1);
    }
    float* host() { return reinterpret_cast<float*>(block.host().data()); }
    void set(float value) { std::fill_n(host(), 8 * kCols, value); }

    Device& device;
    StepParams step{.n_tokens = 1};
    DeviceBlock block;
    Program program;
};

}  // namespace lfm::test
