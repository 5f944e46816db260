// Files that parse but describe no model we can run: each is refused with the key or tensor named.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/memory/bad_file.h"
#include "tests/planner/model_file.h"

namespace lfm::test {
namespace {

struct BadModel {
    std::string name;
    std::function<void(ModelFile&)> damage;
    std::string fragment;
    ErrorCode code = ErrorCode::kInvalidModel;
};

/// Long, as it is one table.
std::vector<BadModel> bad_models() {
    std::vector<BadModel> cases;
    const auto add = [&](std::string name, std::string fragment, std::function<void(ModelFile&)> damage,
                         ErrorCode code = ErrorCode::kInvalidModel) {
        cases.push_back({std::move(name), std::move(damage), std::move(fragment), code});
    };
    const auto unsupported = ErrorCode::kUnsupportedModel;
    const auto number = [&](const std::string& key, std::uint32_t value) {
        std::string name = key + "_" + std::to_string(value);
        std::ranges::replace(name, '.', '_');
        add(name, key, [=](ModelFile& f) { f.u32(key, value); });
    };
    for (const char* key :
         {"block_count", "embedding_length", "attention.head_count", "feed_forward_length", "context_length",
          "shortconv.l_cache", "expert_count", "expert_used_count", "expert_feed_forward_length"}) {
        number(key, 0);
        number(key, 0xffffffffu);
        std::string name = std::string("no_") + key;
        std::ranges::replace(name, '.', '_');
        add(name, key, [=](ModelFile& f) { f.drop(key); });
        add(name + "_but_text", key, [=](ModelFile& f) { f.text(key, "3"); });
    }
    number("expert_used_count", 5);
    number("leading_dense_block_count", 4);
    add("heads_do_not_divide", "head_count", [](ModelFile& f) { f.u32("attention.head_count", 3); });
    add("head_size_odd", "key_length", [](ModelFile& f) { f.u32("attention.key_length", 31); });
    add("head_size_huge", "key_length", [](ModelFile& f) { f.u32("attention.key_length", 1 << 20); });
    add(
        "value_length_differs", "value_length", [](ModelFile& f) { f.u32("attention.value_length", 16); }, unsupported);
    add("kv_heads_too_few_layers", "head_count_kv", [](ModelFile& f) {
        f.integers("attention.head_count_kv", {0, 1});
    });
    add("kv_heads_too_many_layers", "head_count_kv", [](ModelFile& f) {
        f.integers("attention.head_count_kv", {0, 1, 0, 0});
    });
    add("kv_heads_negative", "head_count_kv", [](ModelFile& f) { f.integers("attention.head_count_kv", {0, -1, 0}); });
    add("kv_heads_above_heads", "head_count_kv", [](ModelFile& f) {
        f.integers("attention.head_count_kv", {0, 3, 0});
    });
    add("kv_heads_no_divisor", "head_count_kv", [](ModelFile& f) {
        f.u32("attention.head_count", 4).integers("attention.head_count_kv", {0, 3, 0});
    });
    add("no_kv_heads", "head_count_kv", [](ModelFile& f) { f.drop("attention.head_count_kv"); });
    add("rope_zero", "rope.freq_base", [](ModelFile& f) { f.f32("rope.freq_base", 0); });
    add("rope_negative", "rope.freq_base", [](ModelFile& f) { f.f32("rope.freq_base", -1); });
    add("rope_nan", "rope.freq_base", [](ModelFile& f) { f.f32("rope.freq_base", NAN); });
    add("rope_infinite", "rope.freq_base", [](ModelFile& f) { f.f32("rope.freq_base", INFINITY); });
    add(
        "rope_scaled", "rope.scaling.type", [](ModelFile& f) { f.text("rope.scaling.type", "yarn"); }, unsupported);
    add("eps_zero", "epsilon", [](ModelFile& f) { f.f32("attention.layer_norm_rms_epsilon", 0); });
    add("eps_nan", "epsilon", [](ModelFile& f) { f.f32("attention.layer_norm_rms_epsilon", NAN); });
    add(
        "gating_softmax", "expert_gating_func", [](ModelFile& f) { f.u32("expert_gating_func", 1); }, unsupported);
    add("weights_scale_nan", "expert_weights_scale", [](ModelFile& f) { f.f32("expert_weights_scale", NAN); });
    add(
        "other_architecture", "general.architecture",
        [](ModelFile& f) {
            f.set("general.architecture", [](GgufBuilder& b) { b.add_string("general.architecture", "llama"); });
        },
        unsupported);
    add("no_architecture", "general.architecture", [](ModelFile& f) { f.drop("general.architecture"); });
    add("architecture_number", "general.architecture", [](ModelFile& f) {
        f.set("general.architecture", [](GgufBuilder& b) { b.add_u32("general.architecture", 1); });
    });
    add("vocabulary_differs", "token_embd.weight", [](ModelFile& f) { f.u32("vocab_size", 41); });
    add("tokens_differ", "tokenizer.ggml.tokens", [](ModelFile& f) {
        f.set("tokens",
              [](GgufBuilder& b) { b.add_string_array("tokenizer.ggml.tokens", std::vector<std::string>(39, "t")); });
    });
    for (const char* name : {"token_embd.weight", "token_embd_norm.weight", "blk.0.attn_norm.weight",
                             "blk.2.ffn_norm.weight", "blk.0.shortconv.in_proj.weight", "blk.0.shortconv.conv.weight",
                             "blk.1.attn_q.weight", "blk.1.attn_k_norm.weight", "blk.0.ffn_gate.weight",
                             "blk.1.ffn_gate_inp.weight", "blk.1.ffn_down_exps.weight"}) {
        std::string short_name = std::string("no_") + name;
        std::ranges::replace(short_name, '.', '_');
        add(short_name, name, [=](ModelFile& f) { f.drop_tensor(name); });
    }
    const auto shape = [&](const std::string& name, std::vector<std::uint64_t> dims) {
        std::string short_name = "shape_" + name + "_" + std::to_string(dims.size());
        std::ranges::replace(short_name, '.', '_');
        add(short_name, name, [=](ModelFile& f) { f.reshape(name, dims); });
    };
    shape("token_embd.weight", {64});
    shape("token_embd.weight", {40, 64});
    shape("token_embd.weight", {64, 40, 2});
    shape("token_embd_norm.weight", {63});
    shape("blk.0.shortconv.conv.weight", {4, 64});
    shape("blk.0.shortconv.in_proj.weight", {64, 128});
    shape("blk.1.attn_k.weight", {64, 64});
    shape("blk.1.attn_q_norm.weight", {64});
    shape("blk.0.ffn_down.weight", {64, 96});
    shape("blk.1.ffn_gate_inp.weight", {64, 5});
    shape("blk.1.exp_probs_b.bias", {5});
    shape("blk.2.ffn_up_exps.weight", {64, 32, 3});
    shape("blk.2.ffn_down_exps.weight", {64, 32, 4});
    return cases;
}

TEST(ModelFile, TheUndamagedFileIsAModel) {
    const auto bytes = ModelFile().build();
    const ModelDescription model = describe_model(GgufFile::parse(bytes, "sound.gguf"));
    EXPECT_EQ(model.layers.size(), 3u);
    EXPECT_TRUE(model.layers[1].is_attention());
    EXPECT_FALSE(model.layers[0].is_moe());
    EXPECT_TRUE(model.layers[2].is_moe());
    EXPECT_FALSE(model.output);
}

TEST(ModelFile, TheOlderNameOfTheFinalNorm) {
    const auto bytes = ModelFile().rename("token_embd_norm.weight", "output_norm.weight").build();
    EXPECT_EQ(describe_model(GgufFile::parse(bytes, "older.gguf")).output_norm.name, "output_norm.weight");
}

TEST(ModelFile, OptionalPartsMayBeAbsent) {
    const auto bytes =
        ModelFile().drop_tensor("blk.1.exp_probs_b.bias").drop("vocab_size").drop("expert_gating_func").build();
    EXPECT_EQ(describe_model(GgufFile::parse(bytes, "sparse.gguf")).hyper.n_vocab, 40u);
}

class BadModelTest : public testing::TestWithParam<BadModel> {};
INSTANTIATE_TEST_SUITE_P(Cases, BadModelTest, testing::ValuesIn(bad_models()),
                         [](const auto& test) { return test.param.name; });

TEST_P(BadModelTest, IsRefusedByName) {
    ModelFile file;
    GetParam().damage(file);
    const auto bytes = file.build();
    const AllocationCounter allocations;
    try {
        describe_model(GgufFile::parse(bytes, "bad.gguf"));
        ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), GetParam().code) << error.what();
        EXPECT_NE(std::string(error.what()).find(GetParam().fragment), std::string::npos) << error.what();
    }
    EXPECT_LE(allocations.peak_bytes(), 2 * bytes.size() + (16 << 20));
}

}  // namespace
}  // namespace lfm::test
