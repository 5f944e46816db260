// lfm-eval routing: which experts fire on a text, how often and how soon again.
#include <bit>
#include <cstdio>
#include <optional>

#include "planner/model/routing_json.h"
#include "runtime/experts/routing_trace_file.h"
#include "runtime/text/tokenizer.h"
#include "tools/common/model_options.h"
#include "tools/common/placed_model.h"
#include "tools/eval/commands.h"
#include "tools/eval/windows.h"

namespace lfm::tools {
namespace {

/// Counts the choices of a session, step after step. Sequences follow one another without a break.
class RoutingCounter {
public:
    explicit RoutingCounter(const HyperParameters& hyper)
        : counts_(make_routing_counts(hyper)),
          last_use_(counts_.layers.size(), std::vector<std::uint64_t>(hyper.n_expert)) {
        for (LayerCounts& layer : counts_.layers) layer.distances.resize(1);
    }

    /// The session's last step, of n_tokens.
    void add(const Session& session, std::size_t n_tokens) {
        for (std::uint32_t layer = 0; layer < counts_.layers.size(); ++layer) {
            const auto experts = session.last_experts(layer);
            for (std::size_t i = 0; i < experts.size(); ++i)
                use(layer, static_cast<std::size_t>(experts[i]), counts_.n_tokens + i / counts_.n_expert_used);
        }
        counts_.n_tokens += n_tokens;
    }

    const RoutingCounts& counts() const { return counts_; }

private:
    void use(std::uint32_t layer, std::size_t expert, std::uint64_t token) {
        LayerCounts& counts = counts_.layers[layer];
        ++counts.counts[expert];
        std::uint64_t& last = last_use_[layer][expert];
        if (last > 0) {
            const std::uint64_t distance = token + 1 - last;
            const auto bucket = static_cast<std::size_t>(std::bit_width(distance)) - 1;
            if (bucket >= counts.distances.size()) counts.distances.resize(bucket + 1);
            ++counts.distances[bucket];
            counts.repeats += distance == 1;
        }
        last = token + 1;
    }

    RoutingCounts counts_;
    std::vector<std::vector<std::uint64_t>> last_use_;  // [n_moe_layer][n_expert]: 1 + token; 0: none yet
};

/// Appends the choices of the session's last step.
void record(const Session& session, std::size_t n_tokens, RecordedRouting& trace) {
    const std::size_t k = trace.n_expert_used;
    for (std::size_t token = 0; token < n_tokens; ++token)
        for (std::uint32_t layer = 0; layer < trace.n_moe_layer(); ++layer)
            for (const std::int32_t expert : session.last_experts(layer).subspan(token * k, k))
                trace.choices.push_back(static_cast<std::uint16_t>(expert));
}

/// The text cut into sequences of at most n_ctx tokens, each after a BOS where the model has one.
std::vector<std::vector<std::int32_t>> cut(const std::vector<std::int32_t>& tokens, std::optional<std::int32_t> bos,
                                           std::uint32_t n_ctx) {
    const std::size_t n_prefix = bos ? 1 : 0;
    std::vector<std::vector<std::int32_t>> sequences;
    for (std::size_t first = 0; first < tokens.size(); first += n_ctx - n_prefix) {
        const auto begin = tokens.begin() + static_cast<std::ptrdiff_t>(first);
        const std::size_t size = std::min(n_ctx - n_prefix, tokens.size() - first);
        std::vector<std::int32_t>& sequence = sequences.emplace_back();
        if (bos) sequence.push_back(*bos);
        sequence.insert(sequence.end(), begin, begin + static_cast<std::ptrdiff_t>(size));
    }
    if (sequences.empty()) throw Error(ErrorCode::kInvalidInput, "text", "expected at least one token, found none");
    return sequences;
}

/// A run may take hours, so a trace that would become too large is refused before it.
void require_room(const RecordedRouting& trace, std::uint64_t n_tokens) {
    const std::uint64_t size = n_tokens * trace.choices_per_token() * sizeof(std::uint16_t);
    if (size > kMaxRoutingTraceBytes / 2)
        throw Error(ErrorCode::kUsage, "--trace",
                    "expected choices of at most " + format_bytes(Bytes{kMaxRoutingTraceBytes / 2}) + ", found " +
                        format_bytes(Bytes{size}) + "; use a shorter text");
}

void print_summary(const RoutingCounts& counts) {
    double choices = 0, repeats = 0;
    for (const LayerCounts& layer : counts.layers) {
        choices += static_cast<double>(counts.n_tokens * counts.n_expert_used);
        repeats += static_cast<double>(layer.repeats);
    }
    std::fprintf(stderr, "lfm-eval: %llu tokens, %zu MoE layers: %.1f %% of the choices repeat the previous token's\n",
                 static_cast<unsigned long long>(counts.n_tokens), counts.layers.size(), 100 * repeats / choices);
}

}  // namespace

int eval_routing(const Arguments& arguments) {
    po::options_description description(
        "lfm-eval routing: runs a text, cut into windows of the context's size, and\n"
        "counts which experts fire; lfm-plan --routing reads the counts");
    add_window_options(description);
    description.add_options()("output,o", po::value<std::string>()->required(),
                              "file for the counts (JSON, profiles/routing.schema.json)");
    description.add_options()("trace", po::value<std::string>(),
                              "file for every choice, which --routing-trace replays");
    description.add(compute_options()).add(device_options());
    const auto values = parse_options(arguments, description, kComputeWords);
    if (values.count("help") > 0) {
        write_stdout(help_text(description));
        return 0;
    }
    const std::string path = values["model"].as<std::string>();
    SessionOptions options = window_options(values);
    options.n_outputs = 1;
    std::vector<std::string> inputs = files_read(values);
    inputs.push_back(values["file"].as<std::string>());
    OutputFile output(values["output"].as<std::string>(), inputs);
    std::optional<OutputFile> trace_file;
    if (values.count("trace") > 0) {
        trace_file.emplace(values["trace"].as<std::string>(), inputs);
        trace_file->require_other_than(output);
    }
    const Console console("lfm-eval", values.count("quiet") > 0 ? Verbosity::kQuiet : Verbosity::kNormal);
    PlacedModel placed(values, options, console);
    Session& session = placed.session();
    const HyperParameters& hyper = placed.model().hyper();
    RecordedRouting trace = make_recorded_routing(hyper);

    const Tokenizer tokenizer = Tokenizer::from_gguf(open_model_file(path));
    const auto tokens = read_tokens(values, tokenizer);
    const auto sequences = cut(tokens, tokenizer.bos(), options.n_ctx);
    if (trace_file) require_room(trace, tokens.size() + sequences.size());
    RoutingCounter counter(hyper);
    for (const std::vector<std::int32_t>& sequence : sequences) {
        session.reset();
        const std::span<const std::int32_t> all(sequence);
        for (std::size_t first = 0; first < all.size(); first += options.n_batch) {
            const auto step = all.subspan(first, std::min<std::size_t>(options.n_batch, all.size() - first));
            session.append(step);
            counter.add(session, step.size());
            if (trace_file) record(session, step.size(), trace);
        }
    }
    placed.note_loss(console);
    output.write(routing_to_json(counter.counts()));
    output.keep();
    if (trace_file) {
        trace_file->write(routing_trace_bytes(trace));
        trace_file->keep();
    }
    print_summary(counter.counts());
    return 0;
}

}  // namespace lfm::tools
