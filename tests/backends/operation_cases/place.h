// Where the operands of a case are: in host memory, or in the memory of a device. One case runs on either.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

#include "backends/device.h"
#include "tests/backends/cpu/guarded.h"

namespace lfm::operation_cases {

class Place {
public:
    virtual ~Place() = default;
    /// Memory that holds these bytes until clear(), at an address to put into operations.
    virtual std::byte* put(std::span<const std::byte> bytes) = 0;
    virtual void set(std::byte* to, std::span<const std::byte> bytes) = 0;
    virtual void get(std::span<std::byte> to, const std::byte* from) = 0;
    /// Called before each program: StepParams and expert tables may have changed.
    virtual void begin_step() = 0;
    /// How many operands were written beyond their ends.
    virtual std::size_t n_damaged() = 0;
    virtual void clear() = 0;
};

/// Each operand ends where an unreadable page begins, so that a read or write past it faults.
class HostPlace final : public Place {
public:
    std::byte* put(std::span<const std::byte> bytes) override { return operands_.emplace_back(bytes).data(); }
    void set(std::byte* to, std::span<const std::byte> bytes) override { std::ranges::copy(bytes, to); }
    void get(std::span<std::byte> to, const std::byte* from) override { std::copy_n(from, to.size(), to.data()); }
    void begin_step() override {}
    std::size_t n_damaged() override { return 0; }
    void clear() override { operands_.clear(); }

private:
    std::vector<test::Guarded<std::byte>> operands_;
};

/// Each operand stands between two fences that must stay as they are.
class DevicePlace final : public Place {
public:
    explicit DevicePlace(Device& device) : device_(device) {}

    std::byte* put(std::span<const std::byte> bytes) override {
        std::vector<std::byte> fenced(kFence, kFencePost);
        fenced.insert(fenced.end(), bytes.begin(), bytes.end());
        fenced.insert(fenced.end(), kFence, kFencePost);
        operands_.push_back({device_.allocate(MemoryKind::kOwn, Purpose::kActivations, fenced.size()), bytes.size()});
        std::byte* address = operands_.back().block.address();
        const CopyRegion region{.to = address, .from = fenced.data(), .size = fenced.size()};
        device_.upload({&region, 1});
        return address + kFence;
    }
    void set(std::byte* to, std::span<const std::byte> bytes) override {
        const CopyRegion region{.to = to, .from = bytes.data(), .size = bytes.size()};
        device_.upload({&region, 1});
    }
    void get(std::span<std::byte> to, const std::byte* from) override {
        if (!to.empty()) device_.download(to, from);
    }
    void begin_step() override { device_.begin_step(); }
    std::size_t n_damaged() override {
        return static_cast<std::size_t>(std::ranges::count_if(operands_, [this](const Operand& operand) {
            return is_damaged(operand.block.address()) || is_damaged(operand.block.address() + kFence + operand.size);
        }));
    }
    void clear() override { operands_.clear(); }

private:
    struct Operand {
        DeviceBlock block;
        std::size_t size;
    };
    static constexpr std::size_t kFence = 256;  // as large as the alignment of device memory
    static constexpr std::byte kFencePost{0xa5};

    bool is_damaged(const std::byte* fence) {
        std::array<std::byte, kFence> found;
        device_.download(found, fence);
        return std::ranges::any_of(found, [](std::byte post) { return post != kFencePost; });
    }

    Device& device_;
    std::vector<Operand> operands_;
};

}  // namespace lfm::operation_cases
