// Any device as the probe measures it: opened when first measured, all calls timed by the real clock.
#pragma once

#include <functional>
#include <memory>

#include "runtime/machine/devices.h"
#include "runtime/probe/probe.h"

namespace lfm {

/// What the probe may take of a device: three quarters of what is free (not known: of all it has), at most 4 GiB.
Bytes probe_budget(const DeviceProfile& description);

/// Until a call needs the device, nothing is opened: describing it and comparing identities cost nothing.
class DeviceProbe final : public ProbedDevice {
public:
    using Open = std::function<std::unique_ptr<Device>(const DeviceOptions& options, Ledger& ledger)>;

    /// `open` is called once, with probe_budget and kProbeLimits; what it throws comes from the call that needed it.
    DeviceProbe(DeviceProfile description, Open open);
    explicit DeviceProbe(const FoundDevice& found);
    ~DeviceProbe() override;

    Backend& backend() override;
    Device* device() override;
    std::byte* take(std::size_t size) override;
    void write(std::byte* to, std::span<const std::byte> from) override;
    DeviceProfile description() override { return description_; }
    /// Times products of one token with the memory, read as F32 matrices; on a slow device with the first of them only.
    /// Throws Error{kUsage} for less than a row of 8 KiB.
    double read_seconds(std::span<const std::byte> memory) override;
    bool registers_memory() override;
    /// To the device: the copy lane. From it: a recorded copy into pinned memory, or a download. Throws Error{kUsage}
    /// for a size of 0 or beyond kLargestProbeCopy, and for kRegistered without registers_memory().
    double copy_seconds(const CopyTest& test) override;
    /// In each handshake the host signals a device that waits, and the device runs an operation of one row and reaches
    /// the next point. Throws Error{kUsage} for a `count` outside of 1 to 1024.
    double handshake_seconds(std::uint32_t count) override;

private:
    class Opened;
    Opened& opened();

    DeviceProfile description_;
    Open open_;
    std::unique_ptr<Opened> opened_;
};

}  // namespace lfm
