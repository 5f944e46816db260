#include "runtime/session/sampling_defaults.h"

#include <algorithm>
#include <cctype>
#include <string>

namespace lfm {
namespace {

struct Recommendation {
    std::string_view words;  // all must stand in the name
    float temperature;
    int top_k;
    float min_p;
};

// Liquid AI's model cards; the first match counts. Every card asks for a repeat penalty of 1.05.
constexpr Recommendation kRecommendations[] = {
    {"lfm2 vl", 0.1f, 0, 0.15f},  {"lfm2.5 vl", 0.1f, 0, 0.15f},          {"lfm2.5 8b", 0.2f, 80, 0},
    {"lfm2.5 2.6b", 0.2f, 80, 0}, {"lfm2.5 1.2b thinking", 0.05f, 50, 0}, {"lfm2.5 1.2b instruct", 0.1f, 50, 0},
    {"lfm2.5 350m", 0.1f, 50, 0}, {"lfm2.5 230m", 0.1f, 50, 0},           {"lfm2 24b", 0.1f, 50, 0},
};
constexpr Recommendation kOtherwise{"", 0.3f, 0, 0.15f};  // LFM2 350M to 8B, and names we do not know
constexpr float kRepeatPenalty = 1.05f;

/// " lfm2.5 8b a1b ": lower case, one space around every word.
std::string words_of(std::string_view name) {
    std::string words = " ";
    for (const char c : name) {
        const bool separates = c == '-' || c == '_' || c == ' ';
        if (separates && words.back() == ' ') continue;
        words += separates ? ' ' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    if (words.back() != ' ') words += ' ';
    return words;
}

bool contains_words(std::string_view words, std::string_view wanted) {
    while (!wanted.empty()) {
        const std::string_view word = wanted.substr(0, wanted.find(' '));
        if (words.find(" " + std::string(word) + " ") == std::string_view::npos) return false;
        wanted.remove_prefix(std::min(wanted.size(), word.size() + 1));
    }
    return true;
}

}  // namespace

SamplingParams recommended_sampling(std::string_view model_name, const FileSampling& file) {
    const std::string words = words_of(model_name);
    const auto* found = std::ranges::find_if(
        kRecommendations, [&](const Recommendation& entry) { return contains_words(words, entry.words); });
    const Recommendation& entry = found == std::ranges::end(kRecommendations) ? kOtherwise : *found;

    SamplingParams params;
    params.temperature = file.temperature.value_or(entry.temperature);
    params.top_k = file.top_k.value_or(entry.top_k);
    params.top_p = file.top_p.value_or(params.top_p);
    params.min_p = file.min_p.value_or(entry.min_p);
    params.repeat_penalty = file.repeat_penalty.value_or(kRepeatPenalty);
    params.repeat_last_n = file.repeat_last_n.value_or(params.repeat_last_n);
    validate(params, SamplingSource::kModelFile);
    return params;
}

}  // namespace lfm
