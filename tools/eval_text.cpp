// lfm-eval tokenize and template: a model's view of text.
#include <cstdio>

#include "runtime/chat_template.h"
#include "runtime/tokenizer.h"
#include "tools/console.h"
#include "tools/eval.h"
#include "tools/model_options.h"

namespace lfm::tools {

int eval_tokenize(const Arguments& arguments) {
    po::options_description description("lfm-eval tokenize: texts from standard input, one line of ids for each");
    description.add_options()("help,h", "this text");
    description.add_options()("model,m", po::value<std::string>()->required(),
                              "model file; its weights are not needed");
    description.add_options()("parse-special", "read control tokens in the text as tokens");
    description.add_options()("nul", "texts end with NUL bytes; otherwise all input is one text");
    const auto values = parse_options(arguments, description);
    if (values.count("help") > 0) {
        write_stdout(help_text(description));
        return 0;
    }
    const Tokenizer tokenizer = Tokenizer::from_gguf(GgufFile::open(values["model"].as<std::string>()));
    const auto parse = values.count("parse-special") > 0 ? SpecialTokens::kAsTokens : SpecialTokens::kAsText;
    const std::string input = read_text("-");
    const auto print = [&](std::string_view text) {
        std::string line;
        for (const std::int32_t id : tokenizer.encode(text, parse))
            line += (line.empty() ? "" : " ") + std::to_string(id);
        write_stdout(line + "\n");
    };
    if (values.count("nul") == 0) {
        print(input);
        return 0;
    }
    std::string_view rest = input;
    while (!rest.empty()) {
        const std::size_t end = std::min(rest.find('\0'), rest.size());
        print(rest.substr(0, end));
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    return 0;
}

int eval_template(const Arguments& arguments) {
    po::options_description description("lfm-eval template: a conversation as JSON from standard input, rendered");
    description.add_options()("help,h", "this text");
    description.add_options()("model,m", po::value<std::string>(), "model file whose template is used");
    description.add_options()("template", po::value<std::string>(), "file with the template's text");
    const auto values = parse_options(arguments, description);
    if (values.count("help") > 0) {
        write_stdout(help_text(description));
        return 0;
    }
    if (values.count("model") + values.count("template") != 1)
        throw Error(ErrorCode::kUsage, "options", "expected either --model or --template");
    const std::string text =
        values.count("template") > 0
            ? read_text(values["template"].as<std::string>())
            : Tokenizer::from_gguf(GgufFile::open(values["model"].as<std::string>())).chat_template();
    const Recognised recognised = recognise_template(text);
    if (recognised.confidence == Confidence::kUnknown)
        std::fputs("lfm-eval: warning: unknown chat template, using the plain form\n", stderr);
    Conversation conversation = parse_conversation(read_text("-"));
    conversation.options.think_start = recognised.think_start;
    const std::string rendered = render(recognised.format, conversation);
    write_stdout(rendered);
    return 0;
}

}  // namespace lfm::tools
