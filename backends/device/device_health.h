// Whether a device still works. Once it failed it is not used again.
#pragma once

#include <atomic>
#include <string>
#include <string_view>

#include "memory/error.h"

namespace lfm {

/// What backends share of this; each adds how it reads the results of its driver's calls.
class DeviceHealth {
public:
    /// `name` begins its errors: "GPU".
    explicit DeviceHealth(std::string_view name) : name_(name) {}

    bool lost() const { return lost_.load(std::memory_order_acquire); }
    void require_alive() const {
        if (lost()) throw Error(ErrorCode::kDeviceLost, name_, "expected a working device, found it lost");
    }
    void fail() { lost_.store(true, std::memory_order_release); }
    /// As fail(), and throws Error{kDeviceLost} that says what happened.
    [[noreturn]] void fail(const std::string& what) {
        fail();
        throw Error(ErrorCode::kDeviceLost, name_, what);
    }

private:
    std::string name_;
    std::atomic<bool> lost_ = false;
};

}  // namespace lfm
