// lfm-eval: what tests and comparisons need from a model: logits, token ids, rendered chats, perplexity, routing,
// test files.
#include <cstdio>
#include <map>

#include "tools/command_line.h"
#include "tools/eval.h"

namespace {

constexpr const char* kHelp = R"(usage: lfm-eval COMMAND [options]

  logits      -m MODEL --tokens 1,2,3 -o OUT.f32    logits of every position, little-endian f32
  tokenize    -m MODEL < TEXT                       token ids, one line per text
  template    -m MODEL | --template FILE < JSON     the rendered conversation
  perplexity  -m MODEL -f TEXT                      perplexity of a text
  routing     -m MODEL -f TEXT -o FILE              which experts fire on a text, for lfm-plan --routing
  make        --shape NAME:TYPE -o FILE             a random-weight model of a real shape

lfm-eval COMMAND --help lists a command's options.
)";

}  // namespace

int main(int argc, char** argv) {
    using namespace lfm::tools;
    return run_tool("lfm-eval", [&] {
        const Arguments arguments(argv + 1, argv + argc);
        const std::map<std::string, int (*)(const Arguments&)> commands{
            {"logits", eval_logits},         {"tokenize", eval_tokenize}, {"template", eval_template},
            {"perplexity", eval_perplexity}, {"routing", eval_routing},   {"make", eval_make}};
        if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h") {
            std::fputs(kHelp, arguments.empty() ? stderr : stdout);
            return arguments.empty() ? 2 : 0;
        }
        if (arguments[0] == "--version") {
            std::puts(version_text("lfm-eval").c_str());
            return 0;
        }
        const auto command = commands.find(arguments[0]);
        if (command == commands.end())
            throw lfm::Error(lfm::ErrorCode::kUsage, arguments[0],
                             "expected logits, tokenize, template, perplexity, routing or make");
        return command->second({arguments.begin() + 1, arguments.end()});
    });
}
