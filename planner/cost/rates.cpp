#include "planner/cost/rates.h"

#include <algorithm>

#include "memory/error.h"

namespace lfm {
namespace {

/// However uncertain, something is left.
constexpr double kMostUncertain = 0.9;

/// Of the memory's bandwidth, what the processor gets beside the fastest bus.
constexpr double kLeastHostShare = 0.25;

/// A speed at one end of its uncertainty.
double speed(const Figure& figure, FigureEnd end) {
    switch (end) {
        case FigureEnd::kLow: return figure.value() * (1 - std::min(figure.uncertainty(), kMostUncertain));
        case FigureEnd::kHigh: return figure.value() * (1 + figure.uncertainty());
        case FigureEnd::kMid: break;
    }
    return figure.value();
}

double seconds_per_byte(const Figure& gb_per_s, FigureEnd end) { return 1e-9 / speed(gb_per_s, end); }

/// A duration: where speeds are low, it is long.
double seconds(const Figure& us, FigureEnd end) {
    switch (end) {
        case FigureEnd::kLow: return us.value() * (1 + us.uncertainty()) * 1e-6;
        case FigureEnd::kHigh: return us.value() * (1 - std::min(us.uncertainty(), kMostUncertain)) * 1e-6;
        case FigureEnd::kMid: break;
    }
    return us.value() * 1e-6;
}

/// 1e-9 / figure for every type; both units, gigabytes and gigaflops, are 10^9.
void fill(std::array<double, kTypeIds>& to, const TypeFigures& figures, FigureEnd end) {
    for (const DTypeInfo& info : all_dtypes()) {
        const Figure* figure = figures.find(info.type);
        // A type without a figure is as slow as the slowest: never planned by accident.
        double slowest = 0;
        if (figure == nullptr)
            for (const auto& [type, known] : figures.types) slowest = std::max(slowest, seconds_per_byte(known, end));
        to[static_cast<std::size_t>(info.type)] = figure != nullptr ? seconds_per_byte(*figure, end) : slowest;
    }
}

template <typename Profile>
ProcessorRates processor(const Profile& profile, FigureEnd end) {
    ProcessorRates rates;
    fill(rates.matvec_seconds_per_byte, profile.matvec_gb_per_s, end);
    fill(rates.gemm_seconds_per_flop, profile.gemm_gflop_per_s, end);
    rates.attention_seconds_per_byte = seconds_per_byte(profile.attention_gb_per_s, end);
    rates.operation_seconds = seconds(profile.operation_us, end);
    return rates;
}

/// Experts in RAM travel from registered pages or through staging; what is measured beside the host's reading is
/// pinned memory. A datasheet's pageable memory is the driver's affair, and says nothing of ours.
double share_of_pinned(const DeviceProfile& profile) {
    const auto measured = [](const Figure& figure) { return std::holds_alternative<Measured>(figure.basis); };
    const Figure& staged = profile.h2d_pageable_gb_per_s;
    const auto& registered = profile.h2d_registered_gb_per_s;
    if (!measured(profile.h2d_pinned_gb_per_s) || !measured(staged)) return 1;
    const double travels = std::max(staged.value(), registered ? registered->value() : 0);
    return std::min(1.0, travels / profile.h2d_pinned_gb_per_s.value());
}

}  // namespace

MachineRates rates_of(const MachineProfile& machine, std::optional<std::size_t> device, FigureEnd end) {
    MachineRates rates;
    rates.host = processor(machine.host, end);
    if (!device) return rates;
    if (*device >= machine.devices.size())
        throw Error(ErrorCode::kInvalidInput, machine.name,
                    "expected device " + std::to_string(*device + 1) + ", found " +
                        std::to_string(machine.devices.size()) + " devices");
    const DeviceProfile& profile = machine.devices[*device];
    rates.device = processor(profile, end);
    LinkRates& link = rates.link;
    link.handshake_seconds = seconds(profile.handshake_us, end);
    link.copy_seconds = seconds(profile.copy_us, end);
    link.h2d_seconds_per_byte = seconds_per_byte(profile.h2d_while_host_reads_gb_per_s, end) / share_of_pinned(profile);
    const Figure& alone = machine.host.read_bandwidth.back().gb_per_s;
    double while_copying = profile.host_reads_while_h2d_gb_per_s.value();
    // A card's datasheet does not know the host: copies read the same memory, whatever it says.
    if (!std::holds_alternative<Measured>(profile.host_reads_while_h2d_gb_per_s.basis)) {
        const double left = alone.value() - profile.h2d_while_host_reads_gb_per_s.value();
        while_copying = std::min(while_copying, std::max(left, kLeastHostShare * alone.value()));
    }
    link.host_slowdown = std::max(1.0, alone.value() / while_copying);
    link.shared_memory = profile.memory_kind == DeviceMemory::kSharedWithHost;
    if (link.shared_memory)
        link.shared_seconds_per_byte =
            std::min(seconds_per_byte(profile.read_gb_per_s, end), seconds_per_byte(alone, end));
    return rates;
}

}  // namespace lfm
