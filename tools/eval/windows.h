// A text that is run in windows of the context's size, each after a BOS: what perplexity and routing share.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/text/tokenizer.h"
#include "tools/common/model_options.h"
#include "tools/common/option_values.h"

namespace lfm::tools {

inline constexpr IntegerRange kWindowRange{3, kContextRange.highest};  // a BOS, a token, and one it predicts

/// --help, --quiet, --model, --file, --ctx-size, --parse-special.
void add_window_options(po::options_description& description);
/// For a session of --ctx-size tokens; every token of a step may get logits.
SessionOptions window_options(const po::variables_map& values);
/// The text's tokens without a BOS, as every window gets one.
std::vector<std::int32_t> read_tokens(const po::variables_map& values, const Tokenizer& tokenizer);

}  // namespace lfm::tools
