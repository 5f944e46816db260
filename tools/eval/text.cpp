// lfm-eval tokenize and template: a model's view of text.
#include <cstdio>
#include <optional>

#include "runtime/chat/chat_template.h"
#include "runtime/text/tokenizer.h"
#include "tools/common/console.h"
#include "tools/common/model_options.h"
#include "tools/eval/commands.h"

namespace lfm::tools {
namespace {

void print_ids(const std::vector<std::int32_t>& ids) {
    std::string line;
    for (const std::int32_t id : ids) line += (line.empty() ? "" : " ") + std::to_string(id);
    write_stdout(line + "\n");
}

}  // namespace

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
    const auto print = [&](std::string_view text) { print_ids(tokenizer.encode(text, parse)); };
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
    description.add_options()("tokens", "of --model: print the prompt's token ids; what the messages hold is text");
    const auto values = parse_options(arguments, description);
    if (values.count("help") > 0) {
        write_stdout(help_text(description));
        return 0;
    }
    if (values.count("model") + values.count("template") != 1)
        throw Error(ErrorCode::kUsage, "options", "expected either --model or --template");
    const bool as_tokens = values.count("tokens") > 0;
    if (as_tokens && values.count("model") == 0)
        throw Error(ErrorCode::kUsage, "--tokens", "expected --model beside it, found none");
    std::optional<Tokenizer> tokenizer;
    if (values.count("model") > 0) tokenizer = Tokenizer::from_gguf(open_model_file(values["model"].as<std::string>()));
    const std::string text = tokenizer ? tokenizer->chat_template() : read_text(values["template"].as<std::string>());
    const Recognised recognised = recognise_template(text);
    if (recognised.confidence == Confidence::kUnknown)
        std::fputs("lfm-eval: warning: unknown chat template, using the plain form\n", stderr);
    if (recognised.confidence == Confidence::kSimilar)
        std::fprintf(stderr, "lfm-eval: warning: the chat template is approximated by %s, whose marks it has\n",
                     std::string(chat_format_name(recognised.format)).c_str());
    Conversation conversation = parse_conversation(read_text("-"));
    conversation.options.think_start = recognised.think_start;
    if (as_tokens) {
        // The token itself, not what the conversation calls it.
        const auto bos = tokenizer->bos();
        conversation.options.bos_token = bos ? std::string(tokenizer->piece(*bos)) : std::string();
        print_ids(tokenizer->encode(render_marked(recognised.format, conversation)));
        return 0;
    }
    const std::string rendered = render(recognised.format, conversation);
    write_stdout(rendered);
    return 0;
}

}  // namespace lfm::tools
