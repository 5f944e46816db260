// The GPU backend on the emulation, for tests: as a program opens it.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "backends/gpu/emulation/schedule.h"
#include "backends/gpu/module.h"
#include "memory/ledger.h"

extern "C" const lfm::gpu::Module* lfm_gpu_module();

namespace lfm::test {

inline std::unique_ptr<Device> open_emulated(const BackendLimits& limits, Ledger& ledger,
                                             ActivationKind activations = ActivationKind::kQuantised,
                                             Bytes budget = {std::uint64_t{1} << 30}) {
    return lfm_gpu_module()->open({.budget = budget, .limits = limits, .activations = activations}, ledger);
}

/// Threads, warps and groups run in one order or in the reverse: a result that depends on the order lacks a barrier.
inline std::string order_name(gpu::emulation::Order order) {
    return order == gpu::emulation::Order::kForward ? "forward" : "reverse";
}

}  // namespace lfm::test
