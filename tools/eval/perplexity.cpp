// lfm-eval perplexity: how well a model predicts a text.
#include <cmath>
#include <cstdio>

#include "tools/common/model_options.h"
#include "tools/common/placed_model.h"
#include "tools/common/trace_output.h"
#include "tools/eval/commands.h"
#include "tools/eval/speed.h"
#include "tools/eval/windows.h"

namespace lfm::tools {
namespace {

/// -log p(token) under the logits of the position before it.
double surprise(std::span<const float> logits, std::int32_t token) {
    double largest = -INFINITY;
    for (const float logit : logits) largest = std::max(largest, double{logit});
    double sum = 0;
    for (const float logit : logits) sum += std::exp(logit - largest);
    return std::log(sum) + largest - logits[static_cast<std::size_t>(token)];
}

struct Surprises {
    double sum = 0;
    std::size_t n = 0;
};

Surprises measure(PlacedModel& placed, std::span<const std::int32_t> tokens, std::optional<std::int32_t> bos,
                  EvalSpeed& speed) {
    Session& session = placed.session();
    Surprises found;
    const std::size_t n_prefix = bos ? 1 : 0, n_window = session.n_ctx() - n_prefix;
    for (std::size_t first = 0; first + 2 <= tokens.size(); first += n_window) {
        const auto own = tokens.subspan(first, std::min(n_window, tokens.size() - first));
        std::vector<std::int32_t> window(own.begin(), own.end());
        if (bos) window.insert(window.begin(), *bos);
        session.reset();
        session.append_all(window, [&](std::size_t at, std::span<const float> logits) {
            speed.add(static_cast<std::uint32_t>(logits.size() / session.n_vocab()));
            for (std::size_t row = 0; row * session.n_vocab() < logits.size(); ++row) {
                const std::size_t next = at + row + 1;
                if (next <= n_prefix || next >= window.size()) continue;  // a window's first token is not predicted
                found.sum += surprise(logits.subspan(row * session.n_vocab(), session.n_vocab()), window[next]);
                ++found.n;
            }
        });
    }
    return found;
}

}  // namespace

int eval_perplexity(const Arguments& arguments) {
    po::options_description description(
        "lfm-eval perplexity: the text is cut into windows of the context's size,\n"
        "each after a BOS; every token but a window's first counts");
    add_window_options(description);
    description.add_options()("trace", po::value<std::string>(), "file for what ran when, for ui.perfetto.dev");
    description.add(compute_options()).add(device_options());
    const auto values = parse_options(arguments, description, kComputeWords);
    if (values.count("help") > 0) {
        write_stdout(help_text(description));
        return 0;
    }
    device_request(values);  // wrong options are reported before files are read
    SessionOptions options = window_options(values);
    const std::string& path = values["model"].as<std::string>();
    std::vector<std::string> inputs = files_read(values);
    inputs.push_back(values["file"].as<std::string>());
    TraceOutput trace(find_text(values, "trace"), inputs, "lfm-eval " + path);
    options.trace = trace.trace();
    const Tokenizer tokenizer = Tokenizer::from_gguf(open_model_file(path));
    const auto tokens = read_tokens(values, tokenizer);
    const Console console("lfm-eval", values.count("quiet") > 0 ? Verbosity::kQuiet : Verbosity::kNormal);
    PlacedModel placed(values, options, console);
    EvalSpeed speed(placed);
    const Surprises found = measure(placed, tokens, tokenizer.bos(), speed);
    placed.note_loss(console);
    if (found.n == 0)
        throw Error(ErrorCode::kInvalidInput, "text",
                    "expected at least two tokens, found " + std::to_string(tokens.size()));
    console.note(speed.text());
    const double mean = found.sum / static_cast<double>(found.n);
    char text[96];
    std::snprintf(text, sizeof text, "perplexity %.4f over %zu tokens (%.4f nats a token)\n", std::exp(mean), found.n,
                  mean);
    write_stdout(text);
    trace.keep();
    return 0;
}

}  // namespace lfm::tools
