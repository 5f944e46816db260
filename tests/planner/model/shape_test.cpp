// The family's shapes against published sizes, free sizes, and what is refused.
#include "planner/model/shape.h"

#include <gtest/gtest.h>

#include "memory/error.h"

namespace lfm::test {
namespace {

double gigabytes(const char* shape) { return static_cast<double>(weight_bytes(describe_shape(shape)).value) / 1e9; }

TEST(Shape, FileSizesOfTheFamily) {
    struct Case {
        const char* shape;
        double gigabytes;
    };
    // Liquid AI's published sizes of the 24B files; the others by the same rules.
    for (const Case& expected :
         {Case{"lfm2-24b-a2b:Q4_0", 13.465}, Case{"lfm2-24b-a2b:Q4_K_M", 14.413}, Case{"lfm2-24b-a2b:Q5_K_M", 16.916},
          Case{"lfm2-24b-a2b:Q6_K", 19.576}, Case{"lfm2-24b-a2b:Q8_0", 25.350}, Case{"lfm2-24b-a2b:F16", 47.698},
          Case{"lfm2-8b-a1b:Q4_0", 4.732}, Case{"lfm2-8b-a1b:Q4_K_M", 5.042}, Case{"lfm2-2.6b:Q4_0", 1.481},
          Case{"lfm2-1.2b:Q4_0", .693}, Case{"lfm2-1.2b:Q4_K_M", .729}, Case{"lfm2-700m:Q5_K_M", .536},
          Case{"lfm2-350m:Q6_K", .291}, Case{"lfm2-350m:F16", .709}})
        EXPECT_NEAR(gigabytes(expected.shape), expected.gigabytes, 0.0025) << expected.shape;
}

TEST(Shape, ParameterCounts) {
    struct Case {
        const char* shape;
        double total, active;  // millions
    };
    for (const Case& expected : {Case{"lfm2.5-230m:F16", 229.7, 229.7}, Case{"lfm2-350m:F16", 354.5, 354.5},
                                 Case{"lfm2-700m:F16", 742.5, 742.5}, Case{"lfm2-1.2b:F16", 1170.3, 1170.3},
                                 Case{"lfm2-2.6b:F16", 2569.3, 2569.3}, Case{"lfm2.5-2.6b:F16", 2697.2, 2697.2},
                                 Case{"lfm2-8b-a1b:F16", 8339.9, 1560}, Case{"lfm2.5-8b-a1b:F16", 8467.9, 1690},
                                 Case{"lfm2-24b-a2b:F16", 23843.7, 2320}}) {
        const ParameterCount count = count_parameters(describe_shape(expected.shape));
        EXPECT_NEAR(static_cast<double>(count.total) / 1e6, expected.total, 0.06) << expected.shape;
        EXPECT_NEAR(static_cast<double>(count.active) / 1e6, expected.active, 10) << expected.shape;
    }
}

TEST(Shape, MoreBitsWhereLiquidsFilesHaveThem) {
    const ModelDescription model = describe_shape("lfm2-24b-a2b:Q4_K_M");
    std::vector<std::uint32_t> down, v;
    for (std::uint32_t i = 0; i < model.layers.size(); ++i) {
        const auto* dense = std::get_if<DenseTensors>(&model.layers[i].ffn);
        const DType type = dense != nullptr ? dense->down.type : std::get<MoeTensors>(model.layers[i].ffn).down.type;
        if (type == DType::kQ6_K) down.push_back(i);
        const auto* attention = std::get_if<AttentionTensors>(&model.layers[i].mixer);
        if (attention != nullptr && attention->v.type == DType::kQ6_K) v.push_back(i);
    }
    EXPECT_EQ(down,
              (std::vector<std::uint32_t>{0, 1, 2, 3, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31, 34, 35, 36, 37, 38, 39}));
    EXPECT_EQ(v, (std::vector<std::uint32_t>{2, 14, 26, 34, 38}));
    EXPECT_EQ(model.token_embd.type, DType::kQ6_K);
}

TEST(Shape, ActiveBytesOfA24BToken) {
    EXPECT_NEAR(static_cast<double>(active_weight_bytes(describe_shape("lfm2-24b-a2b:Q4_0")).value) / 1e9, 1.36, 0.03);
}

TEST(Shape, FreeSizes) {
    const ModelDescription model = describe_shape(
        "lfm2moe,n_layer=5,n_embd=96,n_head=3,n_head_kv=1,n_vocab=500,n_expert=6,n_expert_used=3,attention=0.4,"
        "output=separate:Q4_K");
    EXPECT_EQ(model.hyper.n_head_kv, (std::vector<std::uint32_t>{1, 0, 0, 0, 1}));
    EXPECT_EQ(model.hyper.n_expert_used, 3u);
    EXPECT_TRUE(model.output.has_value());
    EXPECT_EQ(model.token_embd.type, DType::kQ8_0);  // 96 is no multiple of 256
    std::uint64_t end = 0;
    for (const TensorRef* tensor : all_tensors(model)) {
        EXPECT_EQ(tensor->offset % 32, 0u);
        EXPECT_GE(tensor->offset, end);
        end = tensor->offset + tensor->bytes.value;
    }
}

TEST(Shape, WhatIsWrongIsNamed) {
    struct Case {
        const char* shape;
        const char* named;
    };
    for (const Case& bad :
         {Case{"lfm2-24b-a2b", "no type"}, Case{"gpt:Q4_0", "gpt"}, Case{"lfm2:Q9", "Q9"},
          Case{"lfm2,n_head=0:F16", "n_head"}, Case{"lfm2,n_head=3:F16", "n_head"}, Case{"lfm2,size=3:F16", "size"},
          Case{"lfm2,n_embd=x:F16", "n_embd"}, Case{"lfm2,attention=9:F16", "attention"},
          Case{"lfm2moe,n_expert=2,n_expert_used=3:F16", "n_expert_used"},
          Case{"lfm2,n_layer=4294967296:F16", "n_layer"}, Case{":", ""}, Case{"", "no type"}}) {
        try {
            describe_shape(bad.shape);
            ADD_FAILURE() << bad.shape << " was accepted";
        } catch (const Error& error) {
            EXPECT_EQ(error.code(), ErrorCode::kUsage);
            EXPECT_NE(std::string(error.what()).find(bad.named), std::string::npos) << error.what();
        }
    }
}

}  // namespace
}  // namespace lfm::test
