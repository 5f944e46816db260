#include "tools/probe/report.h"

#include <cmath>
#include <cstdio>
#include <vector>

#include "runtime/probe/probe_trials.h"

namespace lfm::tools {
namespace {

constexpr double kNoticed = 0.1;

struct Line {
    std::string group, what;
    const Figure* figure;
    std::string unit;
};

void add_types(std::vector<Line>& lines, const std::string& group, const TypeFigures& figures, const char* unit) {
    for (const auto& [type, figure] : figures.types)
        if (std::holds_alternative<Measured>(figure.basis))
            lines.push_back({group, std::string(dtype_name(type)), &figure, unit});
}

std::vector<Line> host_lines(const HostProfile& host) {
    std::vector<Line> lines;
    for (const ThreadFigure& figure : host.read_bandwidth)
        lines.push_back({"read bandwidth",
                         std::to_string(figure.n_threads) + (figure.n_threads == 1 ? " thread" : " threads"),
                         &figure.gb_per_s, "GB/s"});
    add_types(lines, "one token", host.matvec_gb_per_s, "GB/s");
    lines.push_back({"attention", "f16 cache", &host.attention_gb_per_s, "GB/s"});
    add_types(lines, "512 tokens", host.gemm_gflop_per_s, "GFLOP/s");
    lines.push_back({"operation", "", &host.operation_us, "µs"});
    return lines;
}

std::vector<Line> device_lines(const DeviceProfile& device) {
    std::vector<Line> lines{{"reading", "", &device.read_gb_per_s, "GB/s"}};
    add_types(lines, "one token", device.matvec_gb_per_s, "GB/s");
    lines.push_back({"attention", "f16 cache", &device.attention_gb_per_s, "GB/s"});
    add_types(lines, "512 tokens", device.gemm_gflop_per_s, "GFLOP/s");
    lines.push_back({"operation", "", &device.operation_us, "µs"});
    lines.push_back({"handshake", "", &device.handshake_us, "µs"});
    lines.push_back({"copy", "latency", &device.copy_us, "µs"});
    lines.push_back({"to device", "pinned", &device.h2d_pinned_gb_per_s, "GB/s"});
    lines.push_back({"to device", "pageable", &device.h2d_pageable_gb_per_s, "GB/s"});
    if (device.h2d_registered_gb_per_s)
        lines.push_back({"to device", "registered", &*device.h2d_registered_gb_per_s, "GB/s"});
    lines.push_back({"from device", "pinned", &device.d2h_pinned_gb_per_s, "GB/s"});
    lines.push_back({"from device", "pageable", &device.d2h_pageable_gb_per_s, "GB/s"});
    lines.push_back({"both at work", "to device", &device.h2d_while_host_reads_gb_per_s, "GB/s"});
    lines.push_back({"both at work", "host reads", &device.host_reads_while_h2d_gb_per_s, "GB/s"});
    return lines;
}

std::string print(const std::vector<Line>& lines) {
    std::string text;
    std::string group;
    for (const Line& line : lines) {
        const auto* measured = std::get_if<Measured>(&line.figure->basis);
        char row[160];
        std::snprintf(row, sizeof row, "  %-15s %-10s %8s %-8s %4.0f %%  %5u\n",
                      line.group == group ? "" : line.group.c_str(), line.what.c_str(),
                      three_figures(line.figure->value()).c_str(), line.unit.c_str(),
                      measured != nullptr ? measured->spread * 100 : 0, measured != nullptr ? measured->n : 0);
        text += row;
        group = line.group;
    }
    return text;
}

/// Of the host and all devices; a device's groups begin with its name.
std::vector<Line> all_lines(const MachineProfile& machine) {
    std::vector<Line> lines = host_lines(machine.host);
    for (const DeviceProfile& device : machine.devices)
        for (Line& line : device_lines(device)) {
            line.group = device.name + ", " + line.group;
            lines.push_back(line);
        }
    return lines;
}

}  // namespace

std::string probe_table(const MachineProfile& machine) {
    const HostProfile& host = machine.host;
    std::string text = host.name + ", " + std::to_string(host.n_cores) + " cores, " + format_bytes(host.memory) + "; " +
                       host.instruction_set + ", " + std::to_string(host.n_threads) + " threads\n";
    text += "                               median            spread   runs\n";
    text += print(host_lines(host));
    for (const DeviceProfile& device : machine.devices)
        text += "\n" + device.name + " (" + device.backend + "), " + format_bytes(device.memory) + "\n" +
                print(device_lines(device));
    return text;
}

std::string comparison(const MachineProfile& earlier, const MachineProfile& now) {
    const std::vector<Line> before = all_lines(earlier);
    int n_compared = 0, n_moved = 0;
    double most = 0;
    std::string worst;
    for (const Line& line : all_lines(now))
        for (const Line& old : before) {
            if (old.group != line.group || old.what != line.what) continue;
            ++n_compared;
            const double change = std::abs(line.figure->value() / old.figure->value() - 1);
            if (change > kNoticed) ++n_moved;
            if (change <= most) continue;
            most = change;
            worst = line.group + (line.what.empty() ? "" : " " + line.what) + ", from " +
                    three_figures(old.figure->value()) + " to " + three_figures(line.figure->value()) + " " + line.unit;
        }
    if (n_moved == 0) return {};
    return "noisy: " + std::to_string(n_moved) + " of " + std::to_string(n_compared) +
           " figures moved by more than 10 % since " + earlier.measured_at + "; most: " + worst;
}

}  // namespace lfm::tools
