// The golden models: small random files with expected logits and experts.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "memory/ledger.h"
#include "runtime/session/session.h"
#include "runtime/tensors/model.h"
#include "tests/nmse.h"

namespace lfm::test {

struct GoldenModel {
    std::string name;  // the file's name
    std::filesystem::path path;
    std::vector<std::int32_t> tokens;
    std::vector<float> logits;                                   // [n_tokens, n_vocab]
    std::vector<std::vector<std::vector<std::int32_t>>> routes;  // [moe_layer][token][choice]; empty: dense
    double other_nmse = 0;                                       // of llama.cpp on the same file
};

/// All of the manifest; none when the golden data is absent.
std::vector<GoldenModel> golden_models();

enum class Routing { kRouter, kGolden };

struct Forward {
    SessionOptions options;  // n_ctx and n_outputs are filled in, n_batch is at most n_ctx
    Routing routing = Routing::kRouter;
    const Plan* plan = nullptr;  // null: everything on the host
    Device* device = nullptr;
    std::uint32_t n_single = 0;  // of the last tokens: appended one by one
};
struct ForwardResult {
    std::vector<float> logits;                                   // [n_tokens, n_vocab]
    std::vector<std::vector<std::vector<std::int32_t>>> routes;  // as in GoldenModel
};
ForwardResult forward(const GoldenModel& golden, const Forward& how);
/// For plans: all tokens in one step.
SessionSizes golden_sizes(const GoldenModel& golden);
ModelDescription describe(const GoldenModel& golden);

/// Options of exact arithmetic: reference kernels, f32 cache.
SessionOptions exact_options();

}  // namespace lfm::test
