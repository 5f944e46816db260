// How the device served: what was promised beside what came.
#pragma once

#include <string>

#include "memory/ledger.h"
#include "tools/run/model.h"

namespace lfm::tools {

/// "NVIDIA … (vulkan): predicted 79.6 tok/s (61 to 96), measured 75.1; peak 7.8 of 8 GiB; …". Empty when the host alone
/// computed.
std::string device_text(const RunModel& model);

/// Why the device is no longer used, or holds less than planned. Empty: all is well.
std::string device_trouble(const RunModel& model);

/// That, else what was learnt while running. Empty: nothing worth saying.
std::string device_remarks(const RunModel& model);

/// "5.1 GiB to NVIDIA … (vulkan) in 1.2 s, 4.6 GB/s": what loading copied.
std::string upload_text(const RunModel& model);

/// "registered 5.1 GiB of 5.1 GiB of cold experts with the driver". Empty: nothing was asked of it.
std::string registered_text(const RunModel& model);

/// A line for each device and purpose.
std::string memory_text(const Ledger& ledger, const RunModel& model);

/// The plan as lfm-plan shows it.
std::string plan_in_use(const RunModel& model);

}  // namespace lfm::tools
