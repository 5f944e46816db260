#include "planner/model/hyper_parameters.h"

#include <cmath>
#include <string>

#include "memory/error.h"

namespace lfm {
namespace {

class Reader {
public:
    Reader(const GgufFile& file, std::string architecture) : file_(file), prefix_(std::move(architecture) + ".") {}

    std::string key(std::string_view name) const { return prefix_ + std::string(name); }

    [[noreturn]] void fail(std::string_view name, const std::string& expected, const std::string& found,
                           ErrorCode code = ErrorCode::kInvalidModel) const {
        throw Error(code, file_.name() + ": " + key(name), "expected " + expected + ", found " + found);
    }

    std::uint32_t in_range(std::string_view name, std::uint32_t low, std::uint32_t high) const {
        return check(name, file_.get_u32(key(name)), low, high);
    }

    std::uint32_t in_range_or(std::string_view name, std::uint32_t low, std::uint32_t high,
                              std::uint32_t fallback) const {
        const auto value = file_.find_u32(key(name));
        return value ? check(name, *value, low, high) : fallback;
    }

    float positive(std::string_view name) const {
        const float value = file_.get_f32(key(name));
        if (!(value > 0) || !std::isfinite(value)) fail(name, "a number above zero", std::to_string(value));
        return value;
    }

    /// One value a layer: an array of n_layer integers, or one integer for all.
    std::vector<std::uint32_t> per_layer(std::string_view name, std::uint32_t n_layer, std::uint32_t low,
                                         std::uint32_t high) const {
        const GgufEntry* entry = file_.find(key(name));
        if (entry == nullptr || entry->type != GgufType::kArray)
            return std::vector<std::uint32_t>(n_layer, in_range(name, low, high));
        if (entry->count != n_layer)
            fail(name, std::to_string(n_layer) + " values, one a layer", std::to_string(entry->count));
        std::vector<std::uint32_t> values;
        const auto integers = file_.find_integers(key(name));
        for (const std::int64_t value : *integers) {
            if (value < low || value > high)
                fail(name, "values of " + std::to_string(low) + " to " + std::to_string(high), std::to_string(value));
            values.push_back(static_cast<std::uint32_t>(value));
        }
        return values;
    }

private:
    std::uint32_t check(std::string_view name, std::uint32_t value, std::uint32_t low, std::uint32_t high) const {
        if (value < low || value > high)
            fail(name, std::to_string(low) + " to " + std::to_string(high), std::to_string(value));
        return value;
    }

    const GgufFile& file_;
    std::string prefix_;
};

void read_heads(const Reader& reader, HyperParameters& hyper) {
    hyper.n_head = reader.in_range("attention.head_count", 1, kMaxWidth);
    // Liquid's files omit the head size: it is n_embd / n_head.
    std::uint32_t fallback = 0;
    if (hyper.n_embd % hyper.n_head == 0) fallback = hyper.n_embd / hyper.n_head;
    hyper.head_dim = reader.in_range_or("attention.key_length", 2, kMaxHeadDimension, fallback);
    if (hyper.head_dim == 0)
        reader.fail("attention.head_count", "a divisor of embedding_length " + std::to_string(hyper.n_embd),
                    std::to_string(hyper.n_head));
    if (hyper.head_dim < 2 || hyper.head_dim > kMaxHeadDimension || hyper.head_dim % 2 != 0)
        reader.fail("attention.key_length", "an even head size up to " + std::to_string(kMaxHeadDimension),
                    std::to_string(hyper.head_dim));
    const std::uint32_t value_length = reader.in_range_or("attention.value_length", 1, kMaxWidth, hyper.head_dim);
    if (value_length != hyper.head_dim)
        reader.fail("attention.value_length", std::to_string(hyper.head_dim) + " as key_length",
                    std::to_string(value_length), ErrorCode::kUnsupportedModel);
    hyper.n_head_kv = reader.per_layer("attention.head_count_kv", hyper.n_layer, 0, hyper.n_head);
    for (const std::uint32_t n_head_kv : hyper.n_head_kv)
        if (n_head_kv != 0 && (hyper.n_head % n_head_kv != 0 || hyper.n_head / n_head_kv > kMaxHeadGroup))
            reader.fail("attention.head_count_kv", "divisors of head_count " + std::to_string(hyper.n_head),
                        std::to_string(n_head_kv));
}

void read_experts(const GgufFile& file, const Reader& reader, HyperParameters& hyper) {
    hyper.n_expert = reader.in_range("expert_count", 1, kMaxExperts);
    hyper.n_expert_used = reader.in_range("expert_used_count", 1, hyper.n_expert);
    hyper.n_ff_exp = reader.in_range("expert_feed_forward_length", 1, kMaxWidth);
    hyper.n_layer_dense = reader.in_range_or("leading_dense_block_count", 0, hyper.n_layer, 0);
    hyper.expert_weights_scale = file.find_f32(reader.key("expert_weights_scale")).value_or(1.0f);
    if (!std::isfinite(hyper.expert_weights_scale)) reader.fail("expert_weights_scale", "a number", "none");
    if (hyper.expert_weights_scale == 0) hyper.expert_weights_scale = 1;  // some writers state "unset" as 0
}

}  // namespace

HyperParameters read_hyper_parameters(const GgufFile& file) {
    HyperParameters hyper;
    hyper.architecture = file.get_string("general.architecture");
    if (hyper.architecture != "lfm2" && hyper.architecture != "lfm2moe")
        throw Error(ErrorCode::kUnsupportedModel, file.name() + ": general.architecture",
                    "expected lfm2 or lfm2moe, found " + hyper.architecture.substr(0, 40));
    hyper.name = file.find_string("general.name").value_or("");
    const Reader reader(file, hyper.architecture);
    hyper.n_layer = reader.in_range("block_count", 1, kMaxLayers);
    hyper.n_embd = reader.in_range("embedding_length", 1, kMaxWidth);
    hyper.n_ctx_train = reader.in_range("context_length", 1, 1u << 30);
    hyper.l_cache = reader.in_range("shortconv.l_cache", 1, kMaxTaps);
    hyper.rope_freq_base = reader.positive("rope.freq_base");
    hyper.rms_eps = reader.positive("attention.layer_norm_rms_epsilon");
    hyper.n_ff = reader.per_layer("feed_forward_length", hyper.n_layer, 1, kMaxWidth);
    read_heads(reader, hyper);
    if (hyper.architecture == "lfm2moe")
        read_experts(file, reader, hyper);
    else
        hyper.n_layer_dense = hyper.n_layer;
    return hyper;
}

}  // namespace lfm
