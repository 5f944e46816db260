#include "planner/model/known_names.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <sstream>
#include <string_view>

#include <fnmatch.h>

#include "memory/error.h"

namespace lfm {
namespace {

// Read by describe_model, which checks their values.
constexpr std::string_view kRead[] = {"block_count",
                                      "context_length",
                                      "embedding_length",
                                      "feed_forward_length",
                                      "vocab_size",
                                      "attention.head_count",
                                      "attention.head_count_kv",
                                      "attention.key_length",
                                      "attention.value_length",
                                      "attention.layer_norm_rms_epsilon",
                                      "rope.freq_base",
                                      "shortconv.l_cache"};
constexpr std::string_view kReadForExperts[] = {"expert_count", "expert_used_count", "expert_feed_forward_length",
                                                "leading_dense_block_count", "expert_weights_scale"};
// Of no effect without the scaling that rope.scaling.type and .factor would ask for.
constexpr std::string_view kHarmless[] = {"rope.scaling.original_context_length", "rope.scaling.finetuned"};
// Who converted a file and how; mradermacher signs so.
constexpr std::string_view kHarmlessPrefixes[] = {"general.", "tokenizer.", "quantize.", "split.", "mradermacher."};

constexpr double kTolerance = 1e-6;  // a number that went through f32

/// A key that asks for nothing as long as it has one of these values.
struct Neutral {
    std::string_view key;
    std::vector<double> values;  // true is 1
};

/// Of both architectures. 0 is how some converters write "unset".
std::vector<Neutral> neutral_values(const HyperParameters& hyper) {
    std::vector<Neutral> keys{
        {"rope.dimension_count", {double(hyper.head_dim)}},
        {"rope.freq_base_swa", {hyper.rope_freq_base}},
        {"rope.scaling.factor", {1, 0}},
        {"rope.scaling.attn_factor", {1}},
        {"rope.scale_linear", {1}},
        {"attention.causal", {1}},
        {"attention.sliding_window", {0}},
        {"attention.scale", {1 / std::sqrt(double(hyper.head_dim)), 0}},
        {"attention.layer_norm_epsilon", {hyper.rms_eps}},
        {"attention.max_alibi_bias", {0}},
        {"attention.clamp_kqv", {0}},
        {"attention.shared_kv_layers", {0}},
        {"attn_logit_softcapping", {0}},
        {"final_logit_softcapping", {0}},
        {"logit_scale", {1, 0}},
        {"embedding_scale", {1, 0}},
        {"residual_scale", {1, 0}},
        {"use_parallel_residual", {0}},
        {"pooling_type", {0}},
        {"embedding_length_out", {double(hyper.n_embd), 0}},
        {"nextn_predict_layers", {0}},
        {"expert_shared_count", {0}},
        {"expert_shared_feed_forward_length", {0}},
        {"expert_group_count", {1, 0}},
        {"expert_group_used_count", {1, 0}},
        {"expert_weights_norm", {1}},
        {"expert_gating_func", {2}},  // sigmoid
    };
    if (hyper.architecture != "lfm2moe")
        for (const std::string_view key : kReadForExperts) keys.push_back({key, {0}});
    return keys;
}

std::string number_text(double number) {
    std::ostringstream text;
    text << number;
    return text.str();
}

std::string value_text(const GgufFile& file, const GgufEntry& entry) {
    if (entry.type == GgufType::kString) return printable_name(*file.find_string(entry.key));
    if (entry.type == GgufType::kArray) return "an array";
    if (entry.type == GgufType::kBool) return *file.find_bool(entry.key) ? "true" : "false";
    return number_text(*file.find_number(entry.key));
}

bool is_neutral(const Neutral& key, std::optional<double> number) {
    return number && std::ranges::any_of(key.values, [&](double value) {
               return std::abs(*number - value) <= kTolerance * std::abs(value);
           });
}

std::string expected_text(const Neutral& key, const GgufEntry& entry) {
    std::string text;
    for (const double value : key.values) {
        const bool truth = entry.type == GgufType::kBool;
        text +=
            (text.empty() ? "" : " or ") + (truth ? std::string(value == 1 ? "true" : "false") : number_text(value));
    }
    return text;
}

template <typename Names>
bool holds(const Names& names, std::string_view name) {
    return std::ranges::find(names, name) != std::end(names);
}

/// Nothing for a key that is known, with a value that is computed or asks for nothing.
std::optional<UnknownName> check_key(const GgufFile& file, const GgufEntry& entry, const HyperParameters& hyper,
                                     const std::vector<Neutral>& neutral) {
    if (std::ranges::any_of(kHarmlessPrefixes, [&](std::string_view prefix) { return entry.key.starts_with(prefix); }))
        return std::nullopt;
    const std::string prefix = hyper.architecture + ".";
    const UnknownName unknown{printable_name(entry.key), "no such key", value_text(file, entry)};
    if (!entry.key.starts_with(prefix)) return unknown;
    const std::string_view name = entry.key.substr(prefix.size());
    if (holds(kRead, name) || holds(kHarmless, name)) return std::nullopt;
    if (hyper.architecture == "lfm2moe" && holds(kReadForExperts, name)) return std::nullopt;
    if (name == "rope.scaling.type") {
        if (value_text(file, entry) == "none") return std::nullopt;
        return UnknownName{unknown.name, "none", unknown.found};
    }
    const auto found = std::ranges::find(neutral, name, &Neutral::key);
    if (found == neutral.end()) return unknown;
    if (is_neutral(*found, file.find_number(entry.key))) return std::nullopt;
    return UnknownName{unknown.name, expected_text(*found, entry), unknown.found};
}

/// "blk.3.attn_q.bias" as "blk.*.attn_q.bias": layers have the same tensors.
std::string every_layer(const std::string& name) {
    constexpr std::string_view kLayer = "blk.";
    const std::size_t end = name.find('.', kLayer.size());
    if (!name.starts_with(kLayer) || end == std::string::npos) return name;
    return std::string(kLayer) + "*" + name.substr(end);
}

}  // namespace

std::vector<UnknownName> unknown_names(const GgufFile& file, const ModelDescription& model) {
    std::vector<UnknownName> unknown;
    const std::vector<Neutral> neutral = neutral_values(model.hyper);
    for (const GgufEntry& entry : file.entries())
        if (auto found = check_key(file, entry, model.hyper, neutral)) unknown.push_back(*std::move(found));
    std::set<std::string_view> known;
    for (const TensorRef* tensor : all_tensors(model)) known.insert(tensor->name);
    for (const GgufTensor& tensor : file.tensors())
        if (!known.contains(tensor.name))
            unknown.push_back({printable_name(tensor.name), "no such tensor",
                               "one of " + shape_text(std::span(tensor.dims).first(tensor.n_dims))});
    return unknown;
}

std::vector<std::string> check_unknown_names(const GgufFile& file, const ModelDescription& model,
                                             std::span<const std::string> allowed) {
    std::vector<UnknownName> refused;
    std::vector<std::string> ignored;
    for (UnknownName& unknown : unknown_names(file, model)) {
        const bool matches = std::ranges::any_of(allowed, [&](const std::string& pattern) {
            return ::fnmatch(pattern.c_str(), unknown.name.c_str(), FNM_NOESCAPE) == 0;
        });
        if (matches)
            ignored.push_back(std::move(unknown.name));
        else
            refused.push_back(std::move(unknown));
    }
    if (refused.empty()) return ignored;
    const UnknownName& first = refused.front();
    const std::string pattern = every_layer(first.name);
    const auto alike = std::ranges::count(refused, pattern, [](const auto& other) { return every_layer(other.name); });
    const std::string option = alike > 1 ? "'" + pattern + "'" : first.name;
    const std::string more =
        refused.size() > 1 ? "; " + std::to_string(refused.size() - 1) + " more of this kind" : std::string();
    throw Error(ErrorCode::kUnsupportedModel, file.name() + ": " + first.name,
                "expected " + first.expected + ", found " + first.found + ", which this program does not compute with" +
                    more + "; --allow-unknown " + option + " loads the model as if it were not there");
}

}  // namespace lfm
