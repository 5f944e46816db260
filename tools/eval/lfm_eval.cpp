// lfm-eval: what tests and comparisons need from a model, such as logits, token ids, rendered chats, perplexity,
// routing and test files.
#include <map>
#include <string>
#include <vector>

#include "tools/common/command_line.h"
#include "tools/common/console.h"
#include "tools/common/nearest_name.h"
#include "tools/eval/commands.h"

namespace {

constexpr const char* kHelp = R"(usage: lfm-eval COMMAND [options]

  logits      -m MODEL --tokens 1,2,3 -o OUT.f32    logits of every position, little-endian f32
              [--beside N] [--cut T | --fork T]   the same, in steps that other sequences share
  tokenize    -m MODEL < TEXT                       token ids, one line per text
  template    -m MODEL | --template FILE < JSON     the rendered conversation
  perplexity  -m MODEL -f TEXT                      perplexity of a text
  routing     -m MODEL -f TEXT -o FILE              which experts fire on a text, for lfm-plan --routing
  make        --shape NAME:TYPE -o FILE             a random-weight model of a real shape

lfm-eval COMMAND --help lists a command's options.
)";
constexpr const char* kCommands = "logits, tokenize, template, perplexity, routing or make";

}  // namespace

int main(int argc, char** argv) {
    using namespace lfm::tools;
    return run_tool("lfm-eval", [&] {
        const Arguments arguments(argv + 1, argv + argc);
        const std::map<std::string, int (*)(const Arguments&)> commands{
            {"logits", eval_logits},         {"tokenize", eval_tokenize}, {"template", eval_template},
            {"perplexity", eval_perplexity}, {"routing", eval_routing},   {"make", eval_make}};
        if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h") {
            if (!arguments.empty()) return write_stdout(kHelp), 0;
            throw lfm::Error(lfm::ErrorCode::kUsage, "command", std::string("expected ") + kCommands + "; see --help");
        }
        if (arguments[0] == "--version") {
            write_stdout(version_text("lfm-eval") + "\n");
            return 0;
        }
        const auto command = commands.find(arguments[0]);
        if (command == commands.end()) {
            std::vector<std::string> names;
            names.reserve(commands.size());
            for (const auto& [name, function] : commands) names.push_back(name);
            const auto nearest = nearest_name(arguments[0], names);
            throw lfm::Error(
                lfm::ErrorCode::kUsage, "\"" + shown(arguments[0]) + "\"",
                std::string("expected ") + kCommands + (nearest ? "; did you mean " + *nearest + "?" : std::string()));
        }
        return command->second({arguments.begin() + 1, arguments.end()});
    });
}
