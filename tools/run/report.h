// How fast an answer came, for people and for programs.
#pragma once

#include <optional>
#include <string>

#include "runtime/session/generator.h"
#include "tools/run/model.h"

namespace lfm::tools {

/// Bytes per second of reading the model's weights, at most 1 GiB of them; nothing when they may lie in caches. Takes
/// up to a second.
std::optional<double> measure_ram(const RunModel& model);

/// "prompt 23 tokens, 812 tok/s; answer 128 tokens, 45.3 tok/s, 23.4 GB/s (83 % of RAM's 28.1)": GB/s of weights read;
/// the share only beside a measured bandwidth.
std::string timing_text(const GenerationStats& stats, const RunModel& model, std::optional<double> ram_bandwidth);

/// "; first token 0.79 s after the start".
std::string first_token_text(double seconds);

/// One object with the answer, why it ended, token counts, timings (first_token: seconds after the program's start),
/// model and seed; a line of UTF-8.
std::string json_report(const Generation& generation, const RunModel& model, double first_token);

}  // namespace lfm::tools
