// lfm-eval perplexity: how well a model predicts a text.
#include <cmath>
#include <cstdio>

#include "runtime/text/tokenizer.h"
#include "tools/common/model_options.h"
#include "tools/common/placed_model.h"
#include "tools/common/trace_output.h"
#include "tools/eval/commands.h"
#include "tools/eval/speed.h"

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

constexpr IntegerRange kWindowRange{3, kContextRange.highest};  // a BOS, and a token that foretells another

}  // namespace

int eval_perplexity(const Arguments& arguments) {
    po::options_description description(
        "lfm-eval perplexity: the text is cut into windows of the context's size,\n"
        "each after a BOS; every token but a window's first counts");
    description.add_options()("help,h", "this text")("quiet,q", "nothing on stderr but errors");
    description.add_options()("model,m", po::value<std::string>()->required(), "model file");
    description.add_options()("file,f", po::value<std::string>()->required(), "text file; - is standard input");
    description.add_options()("ctx-size,c", po::value<std::string>()->default_value("512"), "tokens of a window");
    description.add_options()("parse-special", "read control tokens in the text as tokens");
    description.add_options()("trace", po::value<std::string>(), "file for what ran when, for ui.perfetto.dev");
    description.add(compute_options()).add(device_options());
    const auto values = parse_options(arguments, description, kComputeWords);
    if (values.count("help") > 0) {
        write_stdout(help_text(description));
        return 0;
    }
    device_request(values);  // what is wrong with the options is said before files are read
    SessionOptions options = session_options(values);
    options.n_ctx = static_cast<std::uint32_t>(*find_integer(values, "ctx-size", kWindowRange));
    options.n_batch = std::min(options.n_batch, options.n_ctx);
    options.n_outputs = options.n_batch;
    const std::string& path = values["model"].as<std::string>();
    std::vector<std::string> inputs = files_read(values);
    inputs.push_back(values["file"].as<std::string>());
    TraceOutput trace(find_text(values, "trace"), inputs, "lfm-eval " + path);
    options.trace = trace.trace();
    const Tokenizer tokenizer = Tokenizer::from_gguf(open_model_file(path));
    const auto parse = values.count("parse-special") > 0 ? SpecialTokens::kAsTokens : SpecialTokens::kAsText;
    auto tokens = tokenizer.encode(read_text(values["file"].as<std::string>()), parse);
    // Every window gets a BOS: a text that brings one needs no second.
    if (!tokens.empty() && tokens.front() == tokenizer.bos()) tokens.erase(tokens.begin());

    const std::size_t n_prefix = tokenizer.bos() ? 1 : 0;
    const Console console("lfm-eval", values.count("quiet") > 0 ? Verbosity::kQuiet : Verbosity::kNormal);
    PlacedModel placed(values, options, console);
    Session& session = placed.session();

    EvalSpeed speed(placed);
    double sum = 0;
    std::size_t n = 0;
    const std::size_t n_window = options.n_ctx - n_prefix;
    for (std::size_t first = 0; first + 2 <= tokens.size(); first += n_window) {
        const std::span<const std::int32_t> own =
            std::span(tokens).subspan(first, std::min(n_window, tokens.size() - first));
        std::vector<std::int32_t> window(own.begin(), own.end());
        if (tokenizer.bos()) window.insert(window.begin(), *tokenizer.bos());
        session.reset();
        session.append_all(window, [&](std::size_t at, std::span<const float> logits) {
            speed.add(static_cast<std::uint32_t>(logits.size() / session.n_vocab()));
            for (std::size_t row = 0; row * session.n_vocab() < logits.size(); ++row) {
                const std::size_t next = at + row + 1;
                if (next <= n_prefix || next >= window.size()) continue;  // a window's first token is not predicted
                sum += surprise(logits.subspan(row * session.n_vocab(), session.n_vocab()), window[next]);
                ++n;
            }
        });
    }
    placed.note_loss(console);
    console.note(speed.text());
    if (n == 0)
        throw Error(ErrorCode::kInvalidInput, "text",
                    "expected at least two tokens, found " + std::to_string(tokens.size()));
    char text[96];
    std::snprintf(text, sizeof text, "perplexity %.4f over %zu tokens (%.4f nats a token)\n",
                  std::exp(sum / static_cast<double>(n)), n, sum / static_cast<double>(n));
    write_stdout(text);
    trace.keep();
    return 0;
}

}  // namespace lfm::tools
