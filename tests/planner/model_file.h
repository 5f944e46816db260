// A sound lfm2moe file in memory, of which tests replace, add or leave out parts.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "planner/model/model.h"
#include "planner/model/shape.h"
#include "tests/gguf_builder.h"

namespace lfm::test {

using Edit = std::function<void(GgufBuilder&)>;

/// A sound lfm2moe file of 3 layers, with single entries and tensors replaced or left out.
class ModelFile {
public:
    ModelFile() {
        set("general.architecture", [](GgufBuilder& b) { b.add_string("general.architecture", "lfm2moe"); });
        u32("block_count", 3).u32("context_length", 64).u32("embedding_length", 64).u32("feed_forward_length", 96);
        u32("attention.head_count", 2).u32("vocab_size", 40).u32("shortconv.l_cache", 3).u32("expert_count", 4);
        u32("expert_used_count", 2).u32("expert_feed_forward_length", 32).u32("leading_dense_block_count", 1);
        u32("expert_gating_func", 2).f32("rope.freq_base", 1e6f).f32("attention.layer_norm_rms_epsilon", 1e-5f);
        integers("attention.head_count_kv", {0, 1, 0});
        const ModelDescription model = describe_shape(
            "lfm2moe,n_layer=3,n_embd=64,n_head=2,n_head_kv=1,n_ff=96,n_vocab=40,n_expert=4,n_ff_exp=32,"
            "n_layer_dense=1,attention=1:F32");
        for (const TensorRef* ref : all_tensors(model))
            tensors_[ref->name] = {ref->name,
                                   static_cast<std::uint32_t>(ref->type),
                                   {ref->dims.begin(), ref->dims.begin() + ref->n_dims},
                                   std::vector<std::byte>(ref->bytes.value),
                                   std::nullopt,
                                   std::nullopt};
    }

    ModelFile& set(const std::string& key, Edit add) { return entries_[key] = std::move(add), *this; }
    ModelFile& u32(const std::string& name, std::uint32_t value) {
        return set(name, [key = "lfm2moe." + name, value](GgufBuilder& b) { b.add_u32(key, value); });
    }
    ModelFile& f32(const std::string& name, float value) {
        return set(name, [key = "lfm2moe." + name, value](GgufBuilder& b) { b.add_f32(key, value); });
    }
    ModelFile& integers(const std::string& name, std::vector<std::int32_t> values) {
        return set(name, [key = "lfm2moe." + name, values](GgufBuilder& b) { b.add_i32_array(key, values); });
    }
    ModelFile& text(const std::string& name, const std::string& value) {
        return set(name, [key = "lfm2moe." + name, value](GgufBuilder& b) { b.add_string(key, value); });
    }
    /// A tensor of zeros that the architecture does not have.
    ModelFile& add_tensor(const std::string& name, std::vector<std::uint64_t> dims) {
        tensors_[name] = {name, 0, {}, {}, std::nullopt, std::nullopt};
        return reshape(name, std::move(dims));
    }
    ModelFile& drop(const std::string& key) { return entries_.erase(key), *this; }
    ModelFile& drop_tensor(const std::string& name) { return tensors_.erase(name), *this; }
    ModelFile& reshape(const std::string& name, std::vector<std::uint64_t> dims) {
        TensorSpec& tensor = tensors_.at(name);
        std::uint64_t n = 4;
        for (const std::uint64_t dim : dims) n *= dim;
        tensor.dims = std::move(dims);
        tensor.data.assign(n, std::byte{0});
        return *this;
    }
    ModelFile& rename(const std::string& from, const std::string& to) {
        TensorSpec tensor = tensors_.at(from);
        tensor.name = to;
        tensors_.erase(from);
        return tensors_[to] = std::move(tensor), *this;
    }

    std::vector<std::byte> build() const {
        GgufBuilder builder;
        for (const auto& [key, add] : entries_) add(builder);
        for (const auto& [name, tensor] : tensors_) builder.add_tensor(tensor);
        return builder.build();
    }

private:
    std::map<std::string, Edit> entries_;
    std::map<std::string, TensorSpec> tensors_;
};

}  // namespace lfm::test
