// How the driver's status codes are understood: which mean a lack of memory, and which the loss of the device.
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
    /// For calls that hand work to the device or wait for it: after any failure the device's state is unknown, so it
    /// counts as lost. Throws Error{kDeviceLost}.
    void check(api::Status status, std::string_view call) {
        if (status != api::kSuccess) fail(said(call, status));
    }
};

/// For calls that create something. Throws Error{kShortfall} when memory was lacking, Error{kUsage} otherwise.
inline void require_created(api::Status status, std::string_view call) {
    if (status == api::kSuccess) return;
    api::forget_error();
    throw Error(status == api::kOutOfMemory ? ErrorCode::kShortfall : ErrorCode::kUsage, "GPU", said(call, status));
}

}  // namespace lfm::gpu
