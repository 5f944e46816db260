// Names and limits of profiles as JSON, for reading and writing alike.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "planner/machine/machine.h"

namespace lfm {

inline constexpr const char* kFormatName = "lfm-machine-profile";
inline constexpr const char* kOwnMemory = "own";
inline constexpr const char* kSharedMemory = "shared_with_host";

inline constexpr const char* kRegisteredKey = "h2d_registered_gb_per_s";

/// DeviceId is one byte; far fewer fit a machine.
inline constexpr std::size_t kMaxDevices = 64;

/// Figures outside are mistakes, and would overflow or vanish in a sum.
inline constexpr double kLeastFigure = 1e-6;
inline constexpr double kMostFigure = 1e9;

struct DeviceFigure {
    const char* key;
    Figure DeviceProfile::*member;
};

/// In the order of the file.
inline constexpr std::array kDeviceFigures{
    DeviceFigure{"read_gb_per_s", &DeviceProfile::read_gb_per_s},
    DeviceFigure{"attention_gb_per_s", &DeviceProfile::attention_gb_per_s},
    DeviceFigure{"operation_us", &DeviceProfile::operation_us},
    DeviceFigure{"handshake_us", &DeviceProfile::handshake_us},
    DeviceFigure{"copy_us", &DeviceProfile::copy_us},
    DeviceFigure{"h2d_pinned_gb_per_s", &DeviceProfile::h2d_pinned_gb_per_s},
    DeviceFigure{"h2d_pageable_gb_per_s", &DeviceProfile::h2d_pageable_gb_per_s},
    DeviceFigure{"d2h_pinned_gb_per_s", &DeviceProfile::d2h_pinned_gb_per_s},
    DeviceFigure{"d2h_pageable_gb_per_s", &DeviceProfile::d2h_pageable_gb_per_s},
    DeviceFigure{"h2d_while_host_reads_gb_per_s", &DeviceProfile::h2d_while_host_reads_gb_per_s},
    DeviceFigure{"host_reads_while_h2d_gb_per_s", &DeviceProfile::host_reads_while_h2d_gb_per_s},
};

}  // namespace lfm
