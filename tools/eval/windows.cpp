#include "tools/eval/windows.h"

#include <algorithm>

namespace lfm::tools {

void add_window_options(po::options_description& description) {
    description.add_options()("help,h", "this text")("quiet,q", "nothing on stderr but errors");
    description.add_options()("model,m", po::value<std::string>()->required(), "model file");
    description.add_options()("file,f", po::value<std::string>()->required(), "text file; - is standard input");
    description.add_options()("ctx-size,c", po::value<std::string>()->default_value("512"), "tokens of a window");
    description.add_options()("parse-special", "read control tokens in the text as tokens");
}

SessionOptions window_options(const po::variables_map& values) {
    SessionOptions options = session_options(values);
    options.n_ctx = static_cast<std::uint32_t>(*find_integer(values, "ctx-size", kWindowRange));
    options.n_batch = std::min(options.n_batch, options.n_ctx);
    options.n_outputs = options.n_batch;
    return options;
}

std::vector<std::int32_t> read_tokens(const po::variables_map& values, const Tokenizer& tokenizer) {
    const auto parse = values.count("parse-special") > 0 ? SpecialTokens::kAsTokens : SpecialTokens::kAsText;
    auto tokens = tokenizer.encode(read_text(values["file"].as<std::string>()), parse);
    if (!tokens.empty() && tokens.front() == tokenizer.bos()) tokens.erase(tokens.begin());
    return tokens;
}

}  // namespace lfm::tools
