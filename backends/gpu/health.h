// Whether the device still works. Once it failed it is not used again.
#pragma once

#include <atomic>
#include <string>
#include <string_view>

#include "backends/gpu/platform/api.h"
#include "memory/error.h"

namespace lfm::gpu {

inline std::string said(std::string_view call, api::Status status) {
    return std::string(call) + ": expected success, found " + api::error_name(status);
}

class Health {
public:
    bool lost() const { return lost_.load(std::memory_order_acquire); }
    void require_alive() const {
        if (lost()) throw Error(ErrorCode::kDeviceLost, "GPU", "expected a working device, found it lost");
    }
    void fail() { lost_.store(true, std::memory_order_release); }
    /// For calls that hand work to the device or wait for it: whatever they refuse, the device's state is unknown
    /// after, so any failure counts as its loss.
    void check(api::Status status, std::string_view call) {
        if (status == api::kSuccess) return;
        fail();
        throw Error(ErrorCode::kDeviceLost, "GPU", said(call, status));
    }

private:
    std::atomic<bool> lost_ = false;
};

/// For calls that create something: a refusal is a lack of memory.
inline void require_created(api::Status status, std::string_view call) {
    if (status == api::kSuccess) return;
    api::forget_error();
    throw Error(status == api::kOutOfMemory ? ErrorCode::kShortfall : ErrorCode::kUsage, "GPU", said(call, status));
}

}  // namespace lfm::gpu
