#include "tests/models/golden_models.h"

#include <fstream>
#include <iterator>

#include <nlohmann/json.hpp>

#include "tests/golden.h"

namespace lfm::test {
namespace {

std::vector<float> read_floats(const std::filesystem::path& path) {
    std::vector<float> values(std::filesystem::file_size(path) / sizeof(float));
    std::ifstream(path, std::ios::binary)
        .read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(float)));
    return values;
}

}  // namespace

std::vector<GoldenModel> golden_models() {
    std::vector<GoldenModel> models;
    const auto dir = golden_dir();
    if (!dir) return models;
    const auto manifest = nlohmann::json::parse(std::ifstream(*dir / "models/manifest.json"));
    for (const auto& entry : manifest.at("cases")) {
        GoldenModel model;
        model.name = entry.at("model");
        model.path = *dir / "models" / model.name;
        model.tokens = entry.at("tokens").get<std::vector<std::int32_t>>();
        model.logits = read_floats(*dir / "models" / entry.at("logits").get<std::string>());
        if (entry.contains("routes") && !entry["routes"].is_null()) entry["routes"].get_to(model.routes);
        model.other_nmse = entry.at("llama_cpp").at("nmse");
        models.push_back(std::move(model));
    }
    return models;
}

ForwardResult forward(const GoldenModel& golden, const Forward& how) {
    Ledger ledger;  // of the host; the device has its own
    GgufFile file = GgufFile::open(golden.path);
    const ModelDescription description = describe_model(file);
    const Model model =
        Model::load(std::move(file), description, how.plan != nullptr ? *how.plan : make_host_plan(description, {}),
                    ledger, {how.device});
    SessionOptions options = how.options;
    options.n_ctx = static_cast<std::uint32_t>(golden.tokens.size());
    options.n_batch = std::min(options.n_batch, options.n_ctx);
    options.n_outputs = options.n_batch;
    Session session(model, options, ledger);
    if (how.routing == Routing::kGolden)
        session.force_experts([&](std::uint32_t layer, std::uint32_t position, std::uint32_t choice) {
            return golden.routes[layer][position][choice];
        });
    ForwardResult result;
    const std::size_t n_moe_layer = description.hyper.n_layer - description.hyper.n_layer_dense;
    result.routes.resize(n_moe_layer);
    const auto keep = [&](std::size_t, std::span<const float> rows) {
        result.logits.insert(result.logits.end(), rows.begin(), rows.end());
        for (std::uint32_t layer = 0; layer < n_moe_layer; ++layer) {
            const auto experts = session.last_experts(layer);
            for (std::size_t at = 0; at < experts.size(); at += description.hyper.n_expert_used)
                result.routes[layer].emplace_back(experts.begin() + at,
                                                  experts.begin() + at + description.hyper.n_expert_used);
        }
    };
    const std::span tokens(golden.tokens);
    const std::size_t n_together = tokens.size() - how.n_single;
    session.append_all(tokens.first(n_together), keep);
    for (std::size_t i = n_together; i < tokens.size(); ++i) session.append_all(tokens.subspan(i, 1), keep);
    return result;
}

SessionSizes golden_sizes(const GoldenModel& golden) {
    const auto n_tokens = static_cast<std::uint32_t>(golden.tokens.size());
    return {.n_ctx = n_tokens, .n_batch = n_tokens, .n_outputs = n_tokens};
}

ModelDescription describe(const GoldenModel& golden) { return describe_model(GgufFile::open(golden.path)); }

SessionOptions exact_options() {
    SessionOptions options;
    options.kernels = &cpu::exact_kernels();
    options.kv = {DType::kF32, DType::kF32};
    return options;
}

}  // namespace lfm::test
