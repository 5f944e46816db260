// A machine's figures as seconds: per byte, per operation, per multiply-add. The only place that turns units.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "planner/machine/machine.h"

namespace lfm {

/// Which end of every figure's uncertainty: all slow, as stated, or all fast.
enum class FigureEnd : std::uint8_t { kLow, kMid, kHigh };

/// One processor at work, all its threads.
struct ProcessorRates {
    std::array<double, kTypeIds> matvec_seconds_per_byte{};  // by type id; weights read for one token
    std::array<double, kTypeIds> gemm_seconds_per_flop{};    // by type id; many tokens
    double attention_seconds_per_byte = 0;                   // of the key/value cache
    double operation_seconds = 0;

    double matvec(DType type) const { return matvec_seconds_per_byte[static_cast<std::size_t>(type)]; }
    double gemm(DType type) const { return gemm_seconds_per_flop[static_cast<std::size_t>(type)]; }
};

struct LinkRates {
    double handshake_seconds = 0;
    double copy_seconds = 0;             // latency of one copy
    double h2d_seconds_per_byte = 0;     // of experts in RAM, while the host reads
    double host_slowdown = 1;            // of the host's reading while the bus is busy, ≥ 1
    bool shared_memory = false;          // nothing needs to be copied
    double shared_seconds_per_byte = 0;  // both processors reading the same memory
};

struct MachineRates {
    ProcessorRates host;
    std::optional<ProcessorRates> device;
    LinkRates link;
};

/// `device` counts from 0 in machine.devices; nothing: the host alone. Throws Error{kInvalidInput} when the profile
/// lacks a figure for a type that has no `others` either.
MachineRates rates_of(const MachineProfile& machine, std::optional<std::size_t> device, FigureEnd end);

}  // namespace lfm
