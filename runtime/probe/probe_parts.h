// The parts of a probe: the host, and each device.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/probe/probe.h"
#include "runtime/probe/probe_trials.h"

namespace lfm {

/// What one part of the probe may use.
struct ProbeShare {
    ProbeEffort effort = ProbeEffort::kQuick;
    std::uint32_t n_threads = 1;  // of the host
    std::size_t memory = 0;
    TrialTime time;  // without progress
    std::function<void(std::string_view step, double share_done)> progress;
};

/// The host's profile without measured figures.
HostProfile describe_host(std::uint32_t n_threads);

/// Measure into `host` and `profile`; return remarks. Throw Error{kInterrupted} after a stop, Error{kShortfall} when
/// memory is refused, and what the device throws.
std::vector<std::string> probe_host(const ProbeShare& share, HostProfile& host);
std::vector<std::string> probe_device(const ProbeShare& share, ProbedDevice& device, DeviceProfile& profile);

/// The weight types that an effort measures, of those the backend supports.
std::vector<DType> probed_types(ProbeEffort effort, const Backend& backend);

/// Figures for types that the backend supports and that were not measured, taken from those that were. Types that it
/// does not support get none.
void assume_others(TypeFigures& figures, const Backend& backend);

}  // namespace lfm
