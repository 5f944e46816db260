// Keys and tensors that could change the result but are not computed with are refused by name, not ignored.
#include "planner/model/known_names.h"

#include <gtest/gtest.h>

#include <cmath>

#include "memory/error.h"
#include "tests/planner/model_file.h"

namespace lfm::test {
namespace {

using Names = std::vector<std::string>;

/// The error of describing the file; "" when it is a model.
std::string refusal(const ModelFile& file, const Names& allowed = {}) {
    const auto bytes = file.build();
    try {
        describe_model(GgufFile::parse(bytes, "file.gguf"), allowed);
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kUnsupportedModel) << error.what();
        return error.what();
    }
    return "";
}

ModelFile with_bool(const std::string& name, bool value) {
    return ModelFile().set(name, [=](GgufBuilder& b) { b.add_bool("lfm2moe." + name, value); });
}

TEST(KnownNames, KeysWithAValueThatIsNotComputedAreRefusedByName) {
    const auto expect = [](const ModelFile& file, const std::string& name, const std::string& what) {
        const std::string key = "lfm2moe." + name;
        const std::string error = refusal(file);
        EXPECT_NE(error.find(key), std::string::npos) << name << ": " << error;
        EXPECT_NE(error.find(what), std::string::npos) << name << ": " << error;
        EXPECT_NE(error.find("--allow-unknown " + key), std::string::npos) << name << ": " << error;
        EXPECT_EQ(refusal(file, {key}), "") << name;
    };
    expect(with_bool("attention.causal", false), "attention.causal", "expected true, found false");
    expect(with_bool("expert_weights_norm", false), "expert_weights_norm", "expected true, found false");
    expect(with_bool("use_parallel_residual", true), "use_parallel_residual", "expected false, found true");
    struct Number {
        const char* name;
        double value;
        const char* expected;
    };
    for (const Number& c : {Number{"rope.dimension_count", 16, "expected 32, found 16"},
                            {"attention.sliding_window", 512, "expected 0"},
                            {"pooling_type", 2, "expected 0, found 2"},
                            {"embedding_length_out", 128, "found 128"},
                            {"expert_gating_func", 1, "expected 2, found 1"},
                            {"expert_shared_count", 1, "expected 0"},
                            {"expert_group_count", 4, "expected 1 or 0"},
                            {"rope.scaling.original_context", 7, "no such key"},
                            {"attention.key_length_mla", 64, "no such key"},
                            {"whatever", 1, "no such key"}})
        expect(ModelFile().u32(c.name, static_cast<std::uint32_t>(c.value)), c.name, c.expected);
    for (const Number& c : {Number{"rope.scaling.factor", 4, "expected 1 or 0, found 4"},
                            {"rope.scaling.attn_factor", 0.5, "expected 1, found 0.5"},
                            {"rope.freq_base_swa", 1e4, "found 10000"},
                            {"logit_scale", 2, "found 2"},
                            {"attention.scale", 0.5, "found 0.5"},
                            {"final_logit_softcapping", 30, "found 30"},
                            {"attention.layer_norm_epsilon", 1e-3, "found 0.001"},
                            {"residual_scale", NAN, "found nan"}})
        expect(ModelFile().f32(c.name, static_cast<float>(c.value)), c.name, c.expected);
    expect(ModelFile().text("rope.scaling.type", "yarn"), "rope.scaling.type", "expected none, found yarn");
    expect(ModelFile().text("attention.causal", "yes"), "attention.causal", "found yes");
    expect(ModelFile().integers("rope.dimension_sections", {8, 8, 0, 0}), "rope.dimension_sections", "found an array");
    expect(ModelFile().integers("attention.sliding_window", {0, 4, 0}), "attention.sliding_window", "found an array");
    expect(ModelFile().set("n", [](GgufBuilder& b) { b.add_i32("lfm2moe.attention.sliding_window", -1); }),
           "attention.sliding_window", "found -1");
}

TEST(KnownNames, KeysThatAskForNothingAreAccepted) {
    ModelFile file;
    file.u32("rope.dimension_count", 32).u32("attention.sliding_window", 0).u32("pooling_type", 0);
    file.f32("rope.scaling.factor", 1).f32("logit_scale", 1).f32("attention.scale", 1 / std::sqrt(32.0f));
    file.u32("expert_shared_count", 0).u32("expert_group_count", 1).f32("expert_weights_scale", 1);
    file.f32("rope.freq_base_swa", 1e6f).u32("rope.scaling.original_context_length", 4096);
    file.text("rope.scaling.type", "none").u32("attention.key_length", 32).u32("attention.value_length", 32);
    for (const char* name : {"attention.causal", "expert_weights_norm"})
        file.set(name, [=](GgufBuilder& b) { b.add_bool(std::string("lfm2moe.") + name, true); });
    for (const char* key : {"general.file_type", "general.whatever", "tokenizer.ggml.add_eos_token", "split.no",
                            "quantize.imatrix.entries_count", "mradermacher.convert_type"})
        file.set(key, [=](GgufBuilder& b) { b.add_u32(key, 0); });
    EXPECT_EQ(refusal(file), "");
}

TEST(KnownNames, KeysOfOthersAreRefused) {
    for (const char* key : {"lfm2.rope.dimension_count", "adapter.lora.alpha", "llama.attention.causal", "nonsense"}) {
        const std::string error = refusal(ModelFile().set(key, [=](GgufBuilder& b) { b.add_u32(key, 1); }));
        EXPECT_NE(error.find(key), std::string::npos) << error;
    }
}

TEST(KnownNames, TensorsWithoutAPlaceAreRefusedByName) {
    for (const char* name :
         {"blk.1.attn_q.bias", "blk.0.shortconv.conv.bias", "blk.1.ffn_gate_exps.scale", "blk.1.attn_q.scale",
          "blk.1.attn_q.input_scale", "rope_freqs.weight", "dense_2.weight", "cls.weight", "output.bias",
          "blk.0.attn_q.weight", "blk.1.shortconv.conv.weight", "blk.0.exp_probs_b.bias", "blk.1.ffn_gate.weight",
          "blk.3.attn_norm.weight", "blk.01.attn_norm.weight", "output_norm.weight", "v.patch_embd.weight"}) {
        const ModelFile file = ModelFile().add_tensor(name, {64});
        const std::string error = refusal(file);
        EXPECT_NE(error.find(std::string("file.gguf: ") + name + ": expected no such tensor, found one of [64]"),
                  std::string::npos)
            << name << ": " << error;
        EXPECT_NE(error.find(std::string("--allow-unknown ") + name), std::string::npos) << error;
        EXPECT_EQ(refusal(file, {name}), "") << name;
    }
}

TEST(KnownNames, OnePatternAllowsATensorOfEveryLayer) {
    ModelFile file;
    for (int layer = 0; layer < 3; ++layer) file.add_tensor("blk." + std::to_string(layer) + ".attn_norm.bias", {64});
    const std::string error = refusal(file);
    EXPECT_NE(error.find("2 more"), std::string::npos) << error;
    EXPECT_NE(error.find("--allow-unknown 'blk.*.attn_norm.bias'"), std::string::npos) << error;
    EXPECT_NE(refusal(file, {"blk.0.attn_norm.bias"}), "");
    EXPECT_NE(refusal(file, {"attn_norm.bias"}), "") << "a name is the whole name";
    const auto bytes = file.build();
    const Names allowed{"blk.*.attn_norm.bias"};
    const ModelDescription model = describe_model(GgufFile::parse(bytes, "file.gguf"), allowed);
    EXPECT_EQ(model.ignored, (Names{"blk.0.attn_norm.bias", "blk.1.attn_norm.bias", "blk.2.attn_norm.bias"}));
}

TEST(KnownNames, AMessageStaysOneLineWhateverTheName) {
    const std::string key = "lfm2moe.a\nb\x1b[31m" + std::string(300, 'x');
    const std::string error = refusal(ModelFile().set("odd", [=](GgufBuilder& b) { b.add_string(key, "c\nd"); }));
    EXPECT_NE(error, "");
    EXPECT_EQ(error.find_first_of("\n\x1b"), std::string::npos) << error;
    EXPECT_LT(error.size(), 600u);
}

}  // namespace
}  // namespace lfm::test
