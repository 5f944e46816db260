#include "tools/run/report.h"

#include <algorithm>
#include <cstdio>

#include <nlohmann/json.hpp>

#include "runtime/machine/bandwidth.h"

namespace lfm::tools {
namespace {

double rate(std::uint32_t n_tokens, double seconds) { return seconds > 0 ? n_tokens / seconds : 0; }

double prompt_rate(const GenerationStats& stats) { return rate(stats.n_prompt - stats.n_reused, stats.prompt_seconds); }

/// The first token comes from the prompt's pass, so steps are counted, not tokens.
double generation_rate(const GenerationStats& stats) { return rate(stats.n_steps, stats.generation_seconds); }

/// Bytes per second of weights while generating.
double weight_rate(const GenerationStats& stats, const RunModel& model) {
    return static_cast<double>(active_weight_bytes(model.model().description()).value) * generation_rate(stats);
}

/// Three figures: "0.53", "4.2", "45.3", "812".
std::string short_number(double value) {
    char text[32];
    std::snprintf(text, sizeof text, value < 1 ? "%.2f" : value < 100 ? "%.1f" : "%.0f", value);
    return text;
}

}  // namespace

std::optional<double> measure_ram(const RunModel& model) {
    constexpr std::size_t kMost = std::size_t{1} << 30;
    const auto data = model.model().data();
    if (data.size() < kLeastMemoryForBandwidth) return std::nullopt;
    return measure_read_bandwidth(data.first(std::min(data.size(), kMost)), model.n_threads());
}

std::string timing_text(const GenerationStats& stats, const RunModel& model, std::optional<double> ram_bandwidth) {
    std::string text = "prompt " + std::to_string(stats.n_prompt) + " tokens";
    if (stats.n_reused > 0) text += " (" + std::to_string(stats.n_reused) + " reused)";
    text += ", " + short_number(prompt_rate(stats)) + " tok/s; answer " + std::to_string(stats.n_generated) + " tokens";
    if (stats.n_steps == 0) return text;
    const double bandwidth = weight_rate(stats, model);
    text += ", " + short_number(generation_rate(stats)) + " tok/s, " + short_number(bandwidth / 1e9) + " GB/s";
    if (!ram_bandwidth) return text;
    return text + " (" + short_number(100 * bandwidth / *ram_bandwidth) + " % of RAM's " +
           short_number(*ram_bandwidth / 1e9) + ")";
}

std::string first_token_text(double seconds) { return "; first token " + short_number(seconds) + " s after the start"; }

std::string json_report(const Generation& generation, const RunModel& model, double first_token) {
    const GenerationStats& stats = generation.stats;
    const HyperParameters& hyper = model.model().hyper();
    const nlohmann::ordered_json report{
        {"text", generation.answer},
        {"reasoning", generation.reasoning},
        {"finish_reason", end_reason_name(generation.end)},
        {"tokens", {{"prompt", stats.n_prompt}, {"reused", stats.n_reused}, {"generated", stats.n_generated}}},
        {"timings",
         {{"load_seconds", model.load_seconds()},
          {"first_token_seconds", first_token},
          {"prompt_seconds", stats.prompt_seconds},
          {"prompt_tokens_per_second", prompt_rate(stats)},
          {"generation_seconds", stats.generation_seconds},
          {"generation_tokens_per_second", generation_rate(stats)},
          {"weight_bytes_per_second", weight_rate(stats, model)}}},
        {"model", {{"file", model.path()}, {"name", hyper.name}, {"architecture", hyper.architecture}}},
        {"seed", model.generation().sampling.seed}};
    // Names come from outside and need not be UTF-8.
    return report.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace lfm::tools
