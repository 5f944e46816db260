#include "tools/plan/text.h"

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstdio>

#include "planner/cost/placement.h"

namespace lfm::tools {
namespace {

constexpr std::size_t kMapRows = 20, kMapColumns = 64;

__attribute__((format(printf, 1, 2))) std::string format(const char* pattern, ...) {
    char text[512];
    va_list values;
    va_start(values, pattern);
    std::vsnprintf(text, sizeof text, pattern, values);
    va_end(values);
    return text;
}

std::string speed(double tokens_per_s) { return format(tokens_per_s < 100 ? "%.1f" : "%.0f", tokens_per_s); }

std::string range(const Prediction& prediction) {
    return speed(prediction.mid) + " tok/s (" + speed(prediction.low) + " to " + speed(prediction.high) + ")";
}

std::string used_of(const char* memory, Bytes used, Bytes budget) {
    return format_bytes(used) + " of " + format_bytes(budget) + " " + memory;
}

std::string verdict(const PlanReport& report) {
    const Plan& plan = report.plan;
    std::string text = report.model_name + " on " + plan.machine.name + "\n";
    text += "fits: ";
    if (plan.vram_budget.value > 0) text += used_of("VRAM, ", plan.used(kDevice), plan.vram_budget);
    text += used_of("RAM", plan.used(kHost), plan.ram_budget) + "\n";
    text += "predicted: " + range(plan.decode) + " decoding with " + std::to_string(plan.depth) + " of " +
            std::to_string(plan.sizes.n_ctx) + " tokens in the context,\n           prefill " + range(plan.prefill) +
            "\n";
    return text;
}

std::string memory_table(const Plan& plan) {
    std::string text = format("\n%-22s %12s %12s\n", "memory", plan.vram_budget.value > 0 ? "VRAM" : "", "RAM");
    std::array<std::array<std::uint64_t, 2>, kMemoryUses> bytes{};
    for (const MemoryLine& line : plan.memory)
        bytes[static_cast<std::size_t>(line.use)][line.device.value] += line.bytes.value;
    const auto line = [&](const char* name, const std::string& vram, const std::string& ram) {
        const std::string row = format("  %-20s %12s %12s", name, vram.c_str(), ram.c_str());
        text += row.substr(0, row.find_last_not_of(' ') + 1) + "\n";
    };
    const auto cell = [](std::uint64_t size) { return size > 0 ? format_bytes({size}) : std::string(); };
    for (std::size_t use = 0; use < kMemoryUses; ++use) {
        if (bytes[use][0] + bytes[use][1] == 0) continue;
        line(memory_use_name(static_cast<MemoryUse>(use)), cell(bytes[use][kDevice.value]),
             cell(bytes[use][kHost.value]));
    }
    line("in all", cell(plan.used(kDevice).value), cell(plan.used(kHost).value));
    return text;
}

/// Shares of experts on the device, for groups of layers × groups of experts, so that any model fits the screen.
class ExpertMap {
public:
    ExpertMap(const Plan& plan, Glyphs glyphs) : plan_(plan), glyphs_(glyphs) {
        const std::size_t n_layer = plan.layers.size();
        layers_per_half_ = (n_layer + 2 * kMapRows - 1) / (2 * kMapRows);
        experts_per_cell_ = std::max<std::size_t>(1, (plan.model.n_expert + kMapColumns - 1) / kMapColumns);
    }

    std::string text() const {
        const std::size_t n_layer = plan_.layers.size(), step = 2 * layers_per_half_;
        std::string text = format("\n%-9s %-4s %s\n", "layers", "home", title().c_str());
        for (std::size_t first = 0; first < n_layer; first += step) {
            const std::size_t middle = std::min(first + layers_per_half_, n_layer);
            const std::size_t last = std::min(first + step, n_layer);
            std::string line = format("%4zu-%-4zu %c%c   ", first, last - 1, home(first, middle), home(middle, last));
            const std::size_t n_cells = (plan_.model.n_expert + experts_per_cell_ - 1) / experts_per_cell_;
            for (std::size_t cell = 0; cell < n_cells; ++cell)
                line += glyph(on_device(first, middle, cell), on_device(middle, last, cell), first, last);
            text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
        }
        return text;
    }

private:
    std::string title() const {
        if (plan_.model.n_expert == 0) return "V: VRAM, R: RAM, m: some of both";
        return glyphs_ == Glyphs::kBlocks
                   ? "experts: \u2588 VRAM, \u2580 \u2584 of the upper, lower layer alone, \u00b7 RAM"
                   : "experts: # VRAM, ^ v of the upper, lower layer alone, . RAM";
    }

    char home(std::size_t first, std::size_t last) const {
        const auto begin = plan_.layers.begin() + static_cast<std::ptrdiff_t>(first);
        const auto end = plan_.layers.begin() + static_cast<std::ptrdiff_t>(last);
        if (begin == end) return ' ';
        const auto n = std::count(begin, end, kDevice);
        return n == 0 ? 'R' : n == end - begin ? 'V' : 'm';
    }

    /// Whether at least half of a cell's experts are on the device.
    bool on_device(std::size_t first, std::size_t last, std::size_t cell) const {
        const std::size_t n_expert = plan_.model.n_expert;
        std::size_t n = 0, n_device = 0;
        for (std::size_t layer = first; layer < last; ++layer) {
            for (std::size_t e = cell * experts_per_cell_; e < std::min((cell + 1) * experts_per_cell_, n_expert);
                 ++e) {
                ++n;
                n_device += plan_.experts[layer * n_expert + e] == kDevice;
            }
        }
        return n > 0 && 2 * n_device >= n;
    }

    const char* glyph(bool upper, bool lower, std::size_t first, std::size_t last) const {
        if (last <= plan_.model.n_layer_dense) return " ";
        const bool blocks = glyphs_ == Glyphs::kBlocks;
        if (upper && lower) return blocks ? "\u2588" : "#";
        // One layer alone in its row: a whole block is easier to read.
        if (upper && last - first <= layers_per_half_) return blocks ? "\u2588" : "#";
        if (upper) return blocks ? "\u2580" : "^";
        if (lower) return blocks ? "\u2584" : "v";
        return blocks ? "\u00b7" : ".";
    }

    const Plan& plan_;
    Glyphs glyphs_;
    std::size_t layers_per_half_ = 1, experts_per_cell_ = 1;
};

std::string bounds(const Plan& plan) {
    std::vector<std::pair<double, TimePart>> parts;
    for (std::size_t i = 0; i < kTimeParts; ++i)
        parts.emplace_back(plan.decode_time.part[i] / plan.decode_time.total(), static_cast<TimePart>(i));
    std::ranges::sort(parts, std::greater<>());
    std::string text = "a token's time: ";
    for (const auto& [share, part] : parts)
        if (share >= 0.005)
            text +=
                (text.back() == ' ' ? "" : ", ") + std::string(time_part_name(part)) + format(" %.0f %%", share * 100);
    return text + "\n";
}

std::string more_vram(const PlanReport& report) {
    if (!report.next_gib || !report.next_gib->decode) return {};
    const double more = report.next_gib->decode->mid - report.plan.decode.mid;
    return "the next GiB of VRAM would give " + speed(report.next_gib->decode->mid) + " tok/s (" +
           (more > 0.05 ? "+" + speed(more) : std::string("nothing more")) + ")\n";
}

std::string others(const Plan& plan) {
    std::string text;
    for (const Alternative& other : plan.alternatives)
        text += (text.empty() ? "instead: " : "; ") + other.name + " " + speed(other.decode);
    return text.empty() ? text : text + " tok/s\n";
}

}  // namespace

std::string plan_text(const PlanReport& report, Glyphs glyphs) {
    const Plan& plan = report.plan;
    std::string text = verdict(report) + memory_table(plan);
    if (plan.vram_budget.value > 0) text += ExpertMap(plan, glyphs).text();
    text += "\n" + bounds(plan) + more_vram(report) + others(plan);
    text += "routing: " + plan.routing + "\n";
    for (const std::string& remark : plan.remarks) text += "note: " + remark + "\n";
    return text + "run:    " + report.command + "\nverify: " + report.verify_command + "\n";
}

std::string sweep_text(const std::vector<SweepRow>& rows, std::uint32_t depth) {
    std::string text = "tok/s with " + std::to_string(depth) + " tokens in the context\n" +
                       format("%10s %10s %10s %9s %15s %9s  %s\n", "budget", "VRAM used", "experts", "decode", "range",
                              "prefill", "whole layers");
    for (const SweepRow& row : rows) {
        text += format("%10s", format_bytes(row.budget).c_str());
        if (!row.plan) {
            text += "  does not fit\n";
            continue;
        }
        const Plan& plan = *row.plan;
        double whole = 0;
        for (const Alternative& other : plan.alternatives)
            if (other.name.starts_with("whole layers")) whole = other.decode;
        const std::string range = speed(plan.decode.low) + " to " + speed(plan.decode.high);
        text += format(" %10s %10u %9s %15s %9s  %s\n", format_bytes(plan.used(kDevice)).c_str(),
                       plan.n_experts_on(kDevice), speed(plan.decode.mid).c_str(), range.c_str(),
                       speed(plan.prefill.mid).c_str(), whole > 0 ? speed(whole).c_str() : "");
    }
    return text;
}

}  // namespace lfm::tools
