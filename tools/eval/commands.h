// The subcommands of lfm-eval; each takes its arguments without program and subcommand, and returns the exit code.
#pragma once

#include <string>
#include <vector>

namespace lfm::tools {

using Arguments = std::vector<std::string>;

int eval_logits(const Arguments& arguments);
int eval_tokenize(const Arguments& arguments);
int eval_template(const Arguments& arguments);
int eval_perplexity(const Arguments& arguments);
int eval_routing(const Arguments& arguments);
int eval_make(const Arguments& arguments);

}  // namespace lfm::tools
