// What there is to know of a card before it is used.
#pragma once

#include <string>
#include <vector>

#include "backends/gpu/module.h"
#include "backends/gpu/recorder.h"

namespace lfm::gpu {

/// In the vendor's order. Without a driver or a device: empty, with the reason.
std::vector<GpuInfo> list_devices(std::string& why_none);

/// Throws Error{kUsage} when there is no such device or it lacks something.
GpuInfo require_device(std::uint32_t index);
DeviceTraits traits_of(const GpuInfo& info, DeviceId self, ActivationKind activations);

}  // namespace lfm::gpu
