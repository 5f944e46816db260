// Where the bytes and where the time go: a bar of parts and the same numbers as a table.
#include <algorithm>
#include <array>

#include "planner/cost/placement.h"
#include "tools/html/bars.h"
#include "tools/html/table.h"
#include "tools/html/text.h"
#include "tools/plan/html_parts.h"

namespace lfm::tools {
namespace {

/// In the order of bars and table; weights are darkest, caches lighter, working memory lightest.
struct UseFill {
    MemoryUse use;
    const char* shade;
};
constexpr std::array<UseFill, 13> kUses{{{MemoryUse::kExperts, "shade-1"},
                                         {MemoryUse::kExpertSlots, "shade-2"},
                                         {MemoryUse::kOperators, "shade-3"},
                                         {MemoryUse::kFfn, "shade-2"},
                                         {MemoryUse::kEmbedding, "shade-3"},
                                         {MemoryUse::kOutput, "shade-2"},
                                         {MemoryUse::kKvCache, "shade-4"},
                                         {MemoryUse::kConvState, "shade-5"},
                                         {MemoryUse::kVectors, "shade-6"},
                                         {MemoryUse::kActivations, "shade-5"},
                                         {MemoryUse::kScratch, "shade-6"},
                                         {MemoryUse::kStaging, "shade-5"},
                                         {MemoryUse::kContext, "shade-6"}}};

const char* device_fill(DeviceId device) { return device == kHost ? "ram " : "device "; }

Bytes budget(const Plan& plan, DeviceId device) { return device == kHost ? plan.ram_budget : plan.vram_budget; }

Bytes bytes_of(const Plan& plan, DeviceId device, MemoryUse use) {
    Bytes sum;
    for (const MemoryLine& line : plan.memory)
        if (line.device == device && line.use == use) sum += line.bytes;
    return sum;
}

std::string memory_bar(const Plan& plan, DeviceId device) {
    const Bytes used = plan.used(device), limit = budget(plan, device);
    const std::string name = memory_name(device);
    std::string summary = format_bytes(used);
    if (limit.value > 0)
        summary += " of " + format_bytes(limit) + " (" +
                   percent(static_cast<double>(used.value) / static_cast<double>(limit.value)) + ")";
    StackedBar bar{.description = name + ": " + summary + "; the parts are in the table below"};
    bar.end = static_cast<double>(std::max(used, limit).value) / 0.98;
    bar.ticks = byte_ticks(bar.end);
    if (limit.value > 0) bar.limit = Tick{static_cast<double>(limit.value), "budget " + format_bytes(limit)};
    for (const auto& [use, shade] : kUses) {
        const Bytes bytes = bytes_of(plan, device, use);
        bar.parts.push_back({memory_use_name(use), format_bytes(bytes), static_cast<double>(bytes.value),
                             joined({device_fill(device), shade})});
    }
    std::string title = name;
    if (device != kHost && !plan.machine.device_name.empty()) title += ", " + plan.machine.device_name;
    return element("figure", "",
                   element("figcaption", "", element("b", "", escaped(title)) + summary) + stacked_bar(bar));
}

std::string left_over(const Plan& plan, DeviceId device) {
    const Bytes used = plan.used(device), limit = budget(plan, device);
    if (limit.value == 0) return {};
    return used > limit ? "−" + format_bytes({used.value - limit.value}) : format_bytes({limit.value - used.value});
}

std::string memory_table(const Plan& plan, const std::vector<DeviceId>& devices) {
    const auto line = [&](std::string_view name, std::string_view kind, const auto& text_for) {
        std::string cells = row_name(escaped(name));
        for (const DeviceId device : devices) cells += number_cell(text_for(device));
        return row(cells, kind);
    };
    std::vector<Heading> headings{{"Use"}};
    for (const DeviceId device : devices) headings.push_back({memory_name(device), Column::kNumber});
    std::string rows;
    for (const auto& [use, shade] : kUses) {
        const auto bytes_with_fill = [&, use = use, shade = shade](DeviceId device) -> std::string {
            const Bytes bytes = bytes_of(plan, device, use);
            if (bytes.value == 0) return {};
            return swatch(joined({device_fill(device), shade})) + format_bytes(bytes);
        };
        if (std::ranges::any_of(devices, [&](DeviceId device) { return bytes_of(plan, device, use).value > 0; }))
            rows += line(memory_use_name(use), "", bytes_with_fill);
    }
    rows += line("used", "sum", [&](DeviceId device) { return format_bytes(plan.used(device)); });
    rows += line("budget", "", [&](DeviceId device) { return format_bytes(budget(plan, device)); });
    rows += line("left", "", [&](DeviceId device) { return left_over(plan, device); });
    return table(headings, rows, "narrow");
}

const char* time_fill(TimePart part) {
    switch (part) {
        case TimePart::kHostWeights: return "ram shade-1";
        case TimePart::kDeviceWeights: return "device shade-1";
        case TimePart::kAttention: return "device shade-4";
        case TimePart::kHandshakes: return "ram shade-4";
        case TimePart::kOperations: return "ram shade-6";
        case TimePart::kBus: return "ram shade-3";
    }
    return "";
}

}  // namespace

const char* memory_name(DeviceId device) { return device == kHost ? "RAM" : "VRAM"; }

std::string html_memory(const Plan& plan) {
    std::vector<DeviceId> devices;
    for (const DeviceId device : {kDevice, kHost})
        if (plan.used(device).value > 0 || budget(plan, device).value > 0) devices.push_back(device);
    if (devices.empty()) return {};
    std::string content;
    for (const DeviceId device : devices) content += memory_bar(plan, device);
    if (devices.size() > 1) content += element("p", attribute("class", "note"), "Each bar has a scale of its own.");
    return section("memory", "Memory", content + memory_table(plan, devices));
}

std::string html_step_time(const Plan& plan) {
    const double total = plan.decode_time.total();
    if (!(total > 0)) return {};
    StackedBar bar{.description = "Time of one token by part; the numbers are in the table below", .end = total};
    bar.ticks = second_ticks(total);
    std::string rows;
    for (std::size_t i = 0; i < kTimeParts; ++i) {
        const auto part = static_cast<TimePart>(i);
        const double seconds = plan.decode_time[part];
        if (!(seconds > 0)) continue;
        bar.parts.push_back({time_part_name(part), percent(seconds / total), seconds, time_fill(part)});
        rows += row(row_name(swatch(time_fill(part)) + escaped(time_part_name(part))) + number_cell(duration(seconds)) +
                    number_cell(percent(seconds / total)));
    }
    rows += row(row_name("one token") + number_cell(duration(total)) + number_cell("100 %"), "sum");
    const std::vector<Heading> headings{{"Part"}, {"Time", Column::kNumber}, {"Share", Column::kNumber}};
    const char* note = "Where processor and device work side by side, only the longer one counts.";
    return section("time", "Time of one token",
                   element("figure", "", stacked_bar(bar)) + element("p", attribute("class", "note"), note) +
                       table(headings, rows, "narrow"));
}

}  // namespace lfm::tools
