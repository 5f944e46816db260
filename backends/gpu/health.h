// How the driver's answers are read: what is a lack of memory, and what the end of the device.
#pragma once

#include <string>
#include <string_view>

#include "backends/device/device_health.h"
#include "backends/gpu/platform/api.h"
#include "memory/error.h"

namespace lfm::gpu {

inline std::string said(std::string_view call, api::Status status) {
    return std::string(call) + ": expected success, found " + api::error_name(status);
}

class Health : public DeviceHealth {
public:
    Health() : DeviceHealth("GPU") {}
    /// For calls that hand work to the device or wait for it: whatever they refuse, the device's state is unknown
    /// after, so any failure counts as its loss.
    void check(api::Status status, std::string_view call) {
        if (status != api::kSuccess) fail(said(call, status));
    }
};

/// For calls that create something: a refusal is a lack of memory.
inline void require_created(api::Status status, std::string_view call) {
    if (status == api::kSuccess) return;
    api::forget_error();
    throw Error(status == api::kOutOfMemory ? ErrorCode::kShortfall : ErrorCode::kUsage, "GPU", said(call, status));
}

}  // namespace lfm::gpu
