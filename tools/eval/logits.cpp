// lfm-eval logits: the logits of every position, and the experts that were used.
#include <cstdio>
#include <limits>

#include <nlohmann/json.hpp>

#include "runtime/chat/conversation.h"
#include "runtime/step/state_identity.h"
#include "tools/common/model_options.h"
#include "tools/common/placed_model.h"
#include "tools/common/trace_output.h"
#include "tools/eval/commands.h"
#include "tools/eval/shared_steps.h"
#include "tools/eval/speed.h"

namespace lfm::tools {
namespace {

/// {"routes": [moe_layer][token][choice]}, checked against the model and the number of tokens.
class Routes {
public:
    Routes(const std::string& path, const HyperParameters& hyper, std::size_t n_tokens)
        : n_tokens_(n_tokens), n_used_(hyper.n_expert_used) {
        const auto json = parse_bounded_json(read_text(path), path);
        if (!json.is_object() || !json.contains("routes")) fail(path, "an object with \"routes\"", "none");
        const auto& layers = json["routes"];
        const std::size_t n_moe_layer = hyper.n_layer - hyper.n_layer_dense;
        require_array(path, layers, n_moe_layer, "MoE layers");
        for (const auto& layer : layers) {
            require_array(path, layer, n_tokens, "tokens");
            for (const auto& token : layer) {
                require_array(path, token, n_used_, "experts");
                for (const auto& expert : token) {
                    if (!expert.is_number_integer() || expert.get<std::int64_t>() < 0 ||
                        expert.get<std::int64_t>() >= hyper.n_expert)
                        fail(path, "experts of 0 to " + std::to_string(hyper.n_expert - 1),
                             expert.dump().substr(0, 20));
                    experts_.push_back(expert.get<std::int32_t>());
                }
            }
        }
    }

    std::int32_t operator()(std::uint32_t moe_layer, std::uint32_t position, std::uint32_t choice) const {
        return experts_[(moe_layer * n_tokens_ + position) * n_used_ + choice];
    }

private:
    [[noreturn]] static void fail(const std::string& path, const std::string& expected, const std::string& found) {
        throw Error(ErrorCode::kInvalidInput, path, "expected " + expected + ", found " + found);
    }
    template <typename Json>
    static void require_array(const std::string& path, const Json& json, std::size_t size, const char* what) {
        if (!json.is_array() || json.size() != size)
            fail(path, std::to_string(size) + " " + what,
                 json.is_array() ? std::to_string(json.size()) : std::string(json.type_name()));
    }

    std::size_t n_tokens_;
    std::size_t n_used_;
    std::vector<std::int32_t> experts_;
};

/// The experts of each step, gathered into routes[moe_layer][token][choice].
class RouteLog {
public:
    explicit RouteLog(const HyperParameters& hyper)
        : n_used_(hyper.n_expert_used), layers_(hyper.n_layer - hyper.n_layer_dense) {}

    /// Of n rows of the last step.
    void record(const Runner& runner, std::size_t first_row, std::size_t n) {
        for (std::uint32_t layer = 0; layer < layers_.size(); ++layer) {
            const auto experts = runner.last_experts(layer).subspan(first_row * n_used_, n * n_used_);
            for (std::size_t at = 0; at < experts.size(); at += n_used_) {
                const auto token = experts.subspan(at, n_used_);
                layers_[layer].push_back(std::vector<std::int32_t>(token.begin(), token.end()));
            }
        }
    }
    std::string json() const { return nlohmann::json{{"routes", layers_}}.dump() + "\n"; }

private:
    std::size_t n_used_;
    std::vector<std::vector<std::vector<std::int32_t>>> layers_;
};

po::options_description logits_options() {
    po::options_description description("lfm-eval logits");
    description.add_options()("help,h", "this text")("quiet,q", "nothing on stderr but errors");
    description.add_options()("model,m", po::value<std::string>(), "model file");
    description.add_options()("tokens", po::value<std::string>(), "token ids with commas between");
    description.add_options()("output,o", po::value<std::string>(), "file for [n_tokens, n_vocab] little-endian f32");
    description.add_options()("routes", po::value<std::string>(),
                              "JSON file with experts to use instead of the router's");
    description.add_options()("routes-out", po::value<std::string>(), "JSON file for the experts that were used");
    description.add_options()("trace", po::value<std::string>(), "file for what ran when, for ui.perfetto.dev");
    description.add(shared_steps_options()).add(compute_options()).add(device_options());
    return description;
}

}  // namespace

int eval_logits(const Arguments& arguments) {
    const po::options_description description = logits_options();
    const auto values = parse_options(arguments, description, kComputeWords);
    if (values.count("help") > 0) {
        write_stdout(help_text(description));
        return 0;
    }
    for (const char* required : {"model", "tokens", "output"})
        if (values.count(required) == 0)
            throw Error(ErrorCode::kUsage, std::string("--") + required, "expected a value, found nothing");

    const auto ids =
        parse_integers(values["tokens"].as<std::string>(), "--tokens", {0, std::numeric_limits<std::int32_t>::max()});
    const std::vector<std::int32_t> tokens(ids.begin(), ids.end());
    SessionOptions options = session_options(values);
    const auto n_tokens = static_cast<std::uint32_t>(tokens.size());
    const std::optional<SharedSteps> shared = find_shared_steps(values, n_tokens);
    if (shared) {
        make_room(*shared, n_tokens, options);
    } else {
        options.n_batch = std::min(options.n_batch, n_tokens);
        options.n_outputs = options.n_batch;
        options.n_ctx = n_tokens;
    }
    std::vector<std::string> inputs = files_read(values);
    if (const auto routes = find_text(values, "routes")) inputs.push_back(*routes);
    OutputFile output(values["output"].as<std::string>(), inputs);
    std::optional<OutputFile> routes_out;
    if (values.count("routes-out") > 0) {
        routes_out.emplace(values["routes-out"].as<std::string>(), inputs);
        routes_out->require_other_than(output);
    }
    TraceOutput trace(find_text(values, "trace"), inputs, "lfm-eval " + values["model"].as<std::string>());
    if (trace.file()) {
        trace.file()->require_other_than(output);
        if (routes_out) trace.file()->require_other_than(*routes_out);
    }
    options.trace = trace.trace();
    const Console console("lfm-eval", values.count("quiet") > 0 ? Verbosity::kQuiet : Verbosity::kNormal);
    PlacedModel placed(values, options, console);
    Session& session = placed.session();
    const HyperParameters& hyper = placed.model().hyper();
    ExpertSource experts;
    if (values.count("routes") > 0) experts = Routes(values["routes"].as<std::string>(), hyper, tokens.size());
    output.reserve(Bytes{tokens.size() * hyper.n_vocab * sizeof(float)});
    RouteLog log(hyper);
    EvalSpeed speed(placed);
    const auto take = [&](const OwnRows& rows) {
        speed.add(rows.n_step_rows);
        output.write({reinterpret_cast<const char*>(rows.logits.data()), rows.logits.size_bytes()});
        log.record(session.runner(), rows.first_row, rows.logits.size() / session.n_vocab());
    };
    if (shared) {
        std::optional<PromptStore> store;
        if (shared->disk)
            store.emplace(PromptStoreOptions{
                .folder = *shared->disk,
                .identity = state_identity(version_text("lfm"), session.runner().model(), session.runner().options())});
        run_shared_steps(*shared, session.runner(), tokens, experts, store ? &*store : nullptr, take);
        if (store)
            for (const std::string& remark : store->take_remarks()) console.note("warning: " + remark);
    } else {
        session.force_experts(experts);
        session.append_all(tokens, [&](std::size_t, std::span<const float> logits) {
            take({logits, 0, static_cast<std::uint32_t>(logits.size() / session.n_vocab())});
        });
    }
    placed.note_loss(console);
    console.note(speed.text());
    output.keep();
    if (routes_out) {
        routes_out->write(log.json());
        routes_out->keep();
    }
    trace.keep();
    return 0;
}

}  // namespace lfm::tools
