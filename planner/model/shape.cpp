#include "planner/model/shape.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "memory/error.h"
#include "planner/model/hyper_parameters.h"
#include "planner/model/type_mix.h"

namespace lfm {
namespace {

constexpr std::uint64_t kAlignment = 32;

struct Member {
    const char* name;
    std::uint32_t n_embd, n_layer;
    std::vector<std::uint32_t> attention;
    std::uint32_t n_head, n_ff, n_vocab;
    float rope_freq_base;
    std::uint32_t n_ctx;
    std::uint32_t n_expert, n_ff_exp;
};

/// Sizes as Liquid AI publishes them with the models.
const std::vector<Member>& family() {
    static const std::vector<std::uint32_t> kSmall{2, 5, 8, 10, 12, 14};
    static const std::vector<std::uint32_t> kMiddle{2, 5, 9, 13, 17, 21, 24, 27};
    static const std::vector<std::uint32_t> k8B{2, 6, 10, 14, 18, 21};
    static const std::vector<std::uint32_t> k24B{2, 6, 10, 14, 18, 22, 26, 30, 34, 38};
    static const std::vector<Member> kFamily{
        {"lfm2.5-230m", 1024, 14, {2, 4, 6, 8, 10, 12}, 16, 2560, 65536, 1e6f, 32768, 0, 0},
        {"lfm2-350m", 1024, 16, kSmall, 16, 4608, 65536, 1e6f, 32768, 0, 0},
        {"lfm2.5-350m", 1024, 16, kSmall, 16, 4608, 65536, 1e6f, 32768, 0, 0},
        {"lfm2-700m", 1536, 16, kSmall, 24, 6912, 65536, 1e6f, 32768, 0, 0},
        {"lfm2-1.2b", 2048, 16, kSmall, 32, 8192, 65536, 1e6f, 32768, 0, 0},
        {"lfm2.5-1.2b", 2048, 16, kSmall, 32, 8192, 65536, 1e6f, 32768, 0, 0},
        {"lfm2-2.6b", 2048, 30, kMiddle, 32, 10752, 65536, 1e6f, 32768, 0, 0},
        {"lfm2.5-2.6b", 2048, 30, kMiddle, 32, 10752, 128000, 1e7f, 128000, 0, 0},
        {"lfm2-8b-a1b", 2048, 24, k8B, 32, 7168, 65536, 1e6f, 32768, 32, 1792},
        {"lfm2.5-8b-a1b", 2048, 24, k8B, 32, 7168, 128000, 5e6f, 128000, 32, 1792},
        {"lfm2-24b-a2b", 2048, 40, k24B, 32, 11776, 65536, 1e6f, 32768, 64, 1536},
        // Starting points for free sizes.
        {"lfm2", 256, 4, {1, 3}, 4, 768, 1024, 1e6f, 4096, 0, 0},
        {"lfm2moe", 256, 4, {1, 3}, 4, 768, 1024, 1e6f, 4096, 8, 256},
    };
    return kFamily;
}

[[noreturn]] void fail(std::string_view what, const std::string& expected, std::string_view found) {
    throw Error(ErrorCode::kUsage, "--shape " + std::string(what),
                "expected " + expected + ", found " + std::string(found));
}

std::uint32_t parse_number(std::string_view key, std::string_view text, std::uint32_t low, std::uint32_t high) {
    std::uint32_t value = 0;
    const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (status != std::errc{} || end != text.data() + text.size() || value < low || value > high)
        fail(key, std::to_string(low) + " to " + std::to_string(high), text);
    return value;
}

/// The text up to `separator`, which is removed from `rest` with it.
std::string_view take_part(std::string_view& rest, char separator) {
    const std::size_t end = std::min(rest.find(separator), rest.size());
    const std::string_view part = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    return part;
}

/// What a shape text says, before it becomes hyper-parameters.
struct Sizes {
    std::map<std::string, std::uint32_t, std::less<>> numbers;
    std::vector<std::uint32_t> attention;
    bool attention_given = false;
    bool tied = true;
};

void apply_override(Sizes& sizes, std::string_view key, std::string_view value) {
    static const std::map<std::string, std::uint32_t, std::less<>> kLimits{
        {"n_layer", kMaxLayers},   {"n_embd", kMaxWidth},
        {"n_head", kMaxWidth},     {"n_head_kv", kMaxWidth},
        {"n_ff", kMaxWidth},       {"n_vocab", kMaxWidth},
        {"n_ctx", 1u << 30},       {"l_cache", kMaxTaps},
        {"n_expert", kMaxExperts}, {"n_expert_used", kMaxExperts},
        {"n_ff_exp", kMaxWidth},   {"n_layer_dense", kMaxLayers}};
    if (key == "attention") {
        sizes.attention.clear();
        sizes.attention_given = true;
        while (!value.empty()) sizes.attention.push_back(parse_number(key, take_part(value, '.'), 0, kMaxLayers - 1));
    } else if (key == "output") {
        if (value != "tied" && value != "separate") fail(key, "tied or separate", value);
        sizes.tied = value == "tied";
    } else if (const auto limit = kLimits.find(key); limit != kLimits.end()) {
        sizes.numbers[limit->first] = parse_number(key, value, key == "n_layer_dense" ? 0 : 1, limit->second);
    } else {
        fail(key, "a known key", key);
    }
}

HyperParameters make_hyper(const Member& member, Sizes& sizes) {
    const auto number = [&](const char* key, std::uint32_t fallback) {
        const auto found = sizes.numbers.find(key);
        return found == sizes.numbers.end() ? fallback : found->second;
    };
    HyperParameters hyper;
    const bool moe = member.n_expert > 0;
    hyper.architecture = moe ? "lfm2moe" : "lfm2";
    hyper.name = std::string(member.name) + " (random weights)";
    hyper.n_layer = number("n_layer", member.n_layer);
    hyper.n_embd = number("n_embd", member.n_embd);
    hyper.n_head = number("n_head", member.n_head);
    if (hyper.n_embd % hyper.n_head != 0 || hyper.n_embd / hyper.n_head % 2 != 0 ||
        hyper.n_embd / hyper.n_head > kMaxHeadDimension)
        fail("n_head", "n_embd / n_head to be even and at most " + std::to_string(kMaxHeadDimension),
             std::to_string(hyper.n_head));
    hyper.head_dim = hyper.n_embd / hyper.n_head;
    const std::uint32_t n_head_kv = number("n_head_kv", std::min(8u, std::max(1u, hyper.n_head / 2)));
    if (hyper.n_head % n_head_kv != 0 || hyper.n_head / n_head_kv > kMaxHeadGroup)
        fail("n_head_kv", "a divisor of n_head " + std::to_string(hyper.n_head), std::to_string(n_head_kv));
    hyper.n_head_kv.assign(hyper.n_layer, 0);
    for (const std::uint32_t layer : sizes.attention_given ? sizes.attention : member.attention) {
        if (layer < hyper.n_layer)
            hyper.n_head_kv[layer] = n_head_kv;
        else if (sizes.attention_given)
            fail("attention", "layers below " + std::to_string(hyper.n_layer), std::to_string(layer));
    }
    hyper.n_ff.assign(hyper.n_layer, number("n_ff", member.n_ff));
    hyper.n_vocab = number("n_vocab", member.n_vocab);
    hyper.n_ctx_train = number("n_ctx", member.n_ctx);
    hyper.l_cache = number("l_cache", 3);
    hyper.rope_freq_base = member.rope_freq_base;
    hyper.rms_eps = 1e-5f;
    hyper.n_layer_dense = hyper.n_layer;
    if (!moe) return hyper;
    hyper.n_expert = number("n_expert", member.n_expert);
    hyper.n_expert_used = number("n_expert_used", std::min(hyper.n_expert, hyper.n_expert >= 32 ? 4u : 2u));
    if (hyper.n_expert_used > hyper.n_expert)
        fail("n_expert_used", "at most n_expert " + std::to_string(hyper.n_expert),
             std::to_string(hyper.n_expert_used));
    hyper.n_ff_exp = number("n_ff_exp", member.n_ff_exp);
    hyper.n_layer_dense = std::min(hyper.n_layer, number("n_layer_dense", hyper.n_layer > 8 ? 2 : 1));
    return hyper;
}

TensorRef tensor(std::string name, std::vector<std::uint64_t> dims) {
    TensorRef ref;
    ref.name = std::move(name);
    ref.n_dims = static_cast<std::uint32_t>(dims.size());
    std::ranges::copy(dims, ref.dims.begin());
    return ref;
}

LayerDescription make_layer(const HyperParameters& hyper, std::uint32_t index) {
    const std::string prefix = "blk." + std::to_string(index) + ".";
    const std::uint64_t n_embd = hyper.n_embd, n_expert = hyper.n_expert;
    const auto named = [&](const char* name, std::vector<std::uint64_t> dims) {
        return tensor(prefix + name, std::move(dims));
    };
    LayerDescription layer;
    layer.attn_norm = named("attn_norm.weight", {n_embd});
    layer.ffn_norm = named("ffn_norm.weight", {n_embd});
    if (const std::uint32_t n_head_kv = hyper.n_head_kv[index]; n_head_kv > 0) {
        const std::uint64_t n_kv = std::uint64_t{n_head_kv} * hyper.head_dim;
        layer.mixer = AttentionTensors{n_head_kv,
                                       named("attn_q.weight", {n_embd, n_embd}),
                                       named("attn_k.weight", {n_embd, n_kv}),
                                       named("attn_v.weight", {n_embd, n_kv}),
                                       named("attn_output.weight", {n_embd, n_embd}),
                                       named("attn_q_norm.weight", {hyper.head_dim}),
                                       named("attn_k_norm.weight", {hyper.head_dim})};
    } else {
        layer.mixer = ShortConvTensors{named("shortconv.in_proj.weight", {n_embd, 3 * n_embd}),
                                       named("shortconv.conv.weight", {hyper.l_cache, n_embd}),
                                       named("shortconv.out_proj.weight", {n_embd, n_embd})};
    }
    if (index < hyper.n_layer_dense) {
        const std::uint64_t n_ff = hyper.n_ff[index];
        layer.ffn = DenseTensors{hyper.n_ff[index], named("ffn_gate.weight", {n_embd, n_ff}),
                                 named("ffn_up.weight", {n_embd, n_ff}), named("ffn_down.weight", {n_ff, n_embd})};
    } else {
        const std::uint64_t n_ff = hyper.n_ff_exp;
        layer.ffn = MoeTensors{named("ffn_gate_inp.weight", {n_embd, n_expert}), named("exp_probs_b.bias", {n_expert}),
                               named("ffn_gate_exps.weight", {n_embd, n_ff, n_expert}),
                               named("ffn_up_exps.weight", {n_embd, n_ff, n_expert}),
                               named("ffn_down_exps.weight", {n_ff, n_embd, n_expert})};
    }
    return layer;
}

}  // namespace

ModelDescription describe_shape(std::string_view shape) {
    const std::size_t colon = shape.rfind(':');
    if (colon == std::string_view::npos) fail(shape, "NAME:TYPE, as in lfm2-24b-a2b:Q4_0", "no type");
    std::string_view sizes_text = shape.substr(0, colon);
    const std::string_view name = take_part(sizes_text, ',');
    const auto member = std::ranges::find_if(family(), [&](const Member& m) { return name == m.name; });
    if (member == family().end()) {
        std::string names;
        for (const std::string& known : shape_names()) names += (names.empty() ? "" : ", ") + known;
        fail(name, "one of " + names, "another name");
    }
    Sizes sizes;
    while (!sizes_text.empty()) {
        std::string_view value = take_part(sizes_text, ',');
        const std::string_view key = take_part(value, '=');
        apply_override(sizes, key, value);
    }
    ModelDescription model;
    model.hyper = make_hyper(*member, sizes);
    const std::uint64_t n_embd = model.hyper.n_embd, n_vocab = model.hyper.n_vocab;
    model.token_embd = tensor("token_embd.weight", {n_embd, n_vocab});
    if (!sizes.tied) model.output = tensor("output.weight", {n_embd, n_vocab});
    model.output_norm = tensor("token_embd_norm.weight", {n_embd});
    for (std::uint32_t i = 0; i < model.hyper.n_layer; ++i) model.layers.push_back(make_layer(model.hyper, i));
    const std::string_view type = shape.substr(colon + 1);
    if (!apply_type_mix(model, type)) fail(type, "a weight type, as in Q4_0 or Q4_K_M", "another name");
    std::uint64_t offset = 0;
    for (TensorRef* ref : all_tensors(model)) {
        ref->offset = offset;
        offset += (ref->bytes.value + kAlignment - 1) / kAlignment * kAlignment;
    }
    return model;
}

std::vector<std::string> shape_names() {
    std::vector<std::string> names;
    for (const Member& member : family()) names.emplace_back(member.name);
    return names;
}

}  // namespace lfm
