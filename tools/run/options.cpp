#include "tools/run/options.h"

#include <limits>
#include <utility>

#include "runtime/machine/host_memory.h"
#include "tools/common/model_options.h"

namespace lfm::tools {
namespace {

constexpr std::string_view kHelp = R"(usage: lfm-run [-m FILE] [-p TEXT] [-f FILE] [options]

Answers the prompt of -p, -f or a pipe, on stdout. On a terminal: a chat.

  -m, --model FILE           GGUF file; default: the small one shipped with lfm
  -p, --prompt TEXT          with -f or a pipe: TEXT, an empty line, the rest
  -f, --file FILE            prompt from a file, - from standard input
  -sys, --system-prompt TEXT
      --no-chat              continue the text as it is, without a chat template
      --parse-special        read <|im_start|> and its like in prompts as tokens
      --chat-template NAME   lfm2, lfm2.5, lfm2.5-moe or plain, not the model's
  -n, --predict N            at most N tokens; -1 (default): to the model's end
      --stop STRING          end before STRING; may be repeated
  -c, --ctx-size N           tokens of context; 0: the model's, at most 8192
      --on-full stop|drop-oldest   chat: refuse what does not fit, or forget
      --reasoning show|hide  show: dim, or on stderr when stdout is no terminal

Sampling; the defaults are those recommended for the model (see -v):
      --temp T (0: the best token, always)  --top-k K  --top-p P  --min-p P
      --repeat-penalty R  --repeat-last-n N  -s, --seed N (-1, default: random)

Computing:
  -t, --threads N            default: one per core
  -b, --batch-size N         prompt tokens in one step; default: 512
  -ctk, --cache-type-k TYPE, -ctv, --cache-type-v TYPE
                             KV cache in f16 (default), f32 or q8_0
      --kernels NAME  --exact    avx2, avx512, neon, portable; reference
      --backend NAME  --device N   auto (default), cpu, vulkan or sim; its Nth
      --vram-budget SIZE  --ram-budget SIZE    at most that much, as 8GiB or 80%
      --profile FILE         to plan with; default: this machine, measured
      --routing FILE  --skew S  --locality L    experts' use, as lfm-plan has it
      --plan FILE            of lfm-plan -o json; has budgets, -c -b -ctk -ctv
      --allow-unknown NAME   load a model in spite of a key or tensor not known
      --adapt on|off         off: experts stay where the plan puts them
      --trace FILE           what ran when, for ui.perfetto.dev

Output:
      --output-format text|json (when done)   --color auto|always|never
  -v, --verbose  say what was chosen, and why    -q, --quiet  nothing but errors
  -h, --help, --version
)";

constexpr std::size_t kMaxStopString = 4096;  // the limit of StopStrings

template <typename Value>
using Choices = std::initializer_list<std::pair<std::string_view, Value>>;

template <typename Value>
Value choose(const po::variables_map& values, const char* option, Choices<Value> choices) {
    const std::string& name = values[option].as<std::string>();
    std::string known;
    for (const auto& [text, value] : choices) {
        if (text == name) return value;
        known += (known.empty() ? "" : ", ") + std::string(text);
    }
    throw Error(ErrorCode::kUsage, std::string("--") + option, "expected one of " + known + ", found " + shown(name));
}

std::optional<ChatFormat> find_chat_format(const po::variables_map& values) {
    const auto name = find_text(values, "chat-template");
    if (!name) return std::nullopt;
    const auto format = chat_format_from_name(*name);
    if (format) return format;
    std::string known;
    for (const std::string_view text : chat_format_names()) known += (known.empty() ? "" : ", ") + std::string(text);
    throw Error(ErrorCode::kUsage, "--chat-template", "expected one of " + known + ", found " + shown(*name));
}

FileSampling find_sampling(const po::variables_map& values) {
    const auto number = [&](const char* option, NumberRange range) {
        const auto value = find_number(values, option, range);
        return value ? std::optional(static_cast<float>(*value)) : std::nullopt;
    };
    const auto integer = [&](const char* option, IntegerRange range) {
        const auto value = find_integer(values, option, range);
        return value ? std::optional(static_cast<int>(*value)) : std::nullopt;
    };
    return {.temperature = number("temp", {0, 1000}),
            .top_k = integer("top-k", {0, std::numeric_limits<int>::max()}),
            .top_p = number("top-p", {0, 1}),
            .min_p = number("min-p", {0, 1}),
            .repeat_penalty = number("repeat-penalty", {0.001, 1000}),
            .repeat_last_n = integer("repeat-last-n", {0, 1 << 20})};
}

Verbosity find_verbosity(const po::variables_map& values) {
    if (values.count("quiet") > 0 && values.count("verbose") > 0)
        throw Error(ErrorCode::kUsage, "options", "expected --quiet or --verbose, found both");
    if (values.count("quiet") > 0) return Verbosity::kQuiet;
    return values.count("verbose") > 0 ? Verbosity::kVerbose : Verbosity::kNormal;
}

std::vector<std::string> find_stop_strings(const po::variables_map& values) {
    auto strings =
        values.count("stop") > 0 ? values["stop"].as<std::vector<std::string>>() : std::vector<std::string>();
    for (const std::string& string : strings)
        if (string.empty() || string.size() > kMaxStopString)
            throw Error(
                ErrorCode::kUsage, "--stop",
                "expected 1 to " + std::to_string(kMaxStopString) + " bytes, found " + std::to_string(string.size()));
    return strings;
}

OneDashWords one_dash_words() {
    OneDashWords words = kComputeWords;
    words["-sys"] = "system-prompt";
    return words;
}

}  // namespace

std::string_view run_help() { return kHelp; }

po::options_description run_option_descriptions() {
    po::options_description options;
    const auto text = [] { return po::value<std::string>(); };
    const auto choice = [](const char* by_default) { return po::value<std::string>()->default_value(by_default); };
    options.add_options()("help,h", "")("version", "")("verbose,v", "")("quiet,q", "")("no-chat", "")("parse-special",
                                                                                                      "");
    options.add_options()("model,m", text(), "")("prompt,p", text(), "")("file,f", text(), "");
    options.add_options()("system-prompt", text(), "")("chat-template", text(), "");
    options.add_options()("stop", po::value<std::vector<std::string>>(), "");
    options.add_options()("predict,n", text(), "")("ctx-size,c", text(), "")("seed,s", text(), "");
    options.add_options()("temp", text(), "")("top-p", text(), "")("min-p", text(), "")("top-k", text(), "");
    options.add_options()("repeat-penalty", text(), "")("repeat-last-n", text(), "");
    options.add_options()("reasoning", choice("show"), "")("output-format", choice("text"), "")("color", choice("auto"),
                                                                                                "");
    options.add_options()("on-full", choice("stop"), "");
    options.add_options()("plan", text(), "")("trace", text(), "");
    options.add(compute_options()).add(device_options()).add(expected_use_options());
    return options;
}

RunOptions parse_run_options(const std::vector<std::string>& arguments) {
    const po::variables_map values = parse_options(arguments, run_option_descriptions(), one_dash_words());
    RunOptions options;
    if (values.count("help") > 0) options.action = RunAction::kHelp;
    if (values.count("version") > 0) options.action = RunAction::kVersion;
    if (options.action != RunAction::kRun) return options;

    options.model = find_text(values, "model");
    options.prompt = find_text(values, "prompt");
    options.file = find_text(values, "file");
    const auto n_predict = find_integer(values, "predict", {-1, kContextRange.highest});
    if (n_predict && *n_predict >= 0) options.n_predict = static_cast<std::uint32_t>(*n_predict);
    options.n_ctx = static_cast<std::uint32_t>(find_integer(values, "ctx-size", kContextRange).value_or(0));
    options.compute = session_options(values);
    options.allow_unknown = allowed_unknown(values);
    options.plan_file = find_text(values, "plan");
    for (const char* decided : {"vram-budget", "ram-budget", "ctx-size", "batch-size", "cache-type-k", "cache-type-v"})
        if (options.plan_file && is_given(values, decided))
            throw Error(ErrorCode::kUsage, "--plan",
                        "expected no --" + std::string(decided) + " beside it: the plan decides");
    options.device = device_request(values);
    options.use = expected_use(values);
    if (options.use.is_given && (options.plan_file || options.device.backend == BackendName::kCpu))
        throw Error(ErrorCode::kUsage, options.use.counts_file ? "--routing" : "--skew",
                    options.plan_file ? "expected none beside --plan, which has it"
                                      : "expected none where the CPU alone computes");
    options.trace_file = find_text(values, "trace");
    options.sampling = find_sampling(values);
    const auto seed = find_integer(values, "seed", {-1, std::numeric_limits<std::int64_t>::max()});
    if (seed && *seed >= 0) options.seed = static_cast<std::uint64_t>(*seed);
    options.system = find_text(values, "system-prompt").value_or("");
    if (values.count("no-chat") > 0) options.form = PromptForm::kRaw;
    if (values.count("parse-special") > 0) options.parse = SpecialTokens::kAsTokens;
    options.chat_format = find_chat_format(values);
    options.stop_strings = find_stop_strings(values);
    using Reasoning = ReasoningChoice;
    options.reasoning =
        choose<Reasoning>(values, "reasoning", {{"show", Reasoning::kShow}, {"hide", Reasoning::kHide}});
    options.output =
        choose<OutputFormat>(values, "output-format", {{"text", OutputFormat::kText}, {"json", OutputFormat::kJson}});
    options.on_full =
        choose<OnFull>(values, "on-full", {{"stop", OnFull::kStop}, {"drop-oldest", OnFull::kDropOldest}});
    if (is_given(values, "on-full") && (options.prompt || options.file || options.form == PromptForm::kRaw))
        throw Error(ErrorCode::kUsage, "--on-full", "expected a chat, found a prompt that is answered once");
    options.color = choose<ColorChoice>(
        values, "color",
        {{"auto", ColorChoice::kAuto}, {"always", ColorChoice::kAlways}, {"never", ColorChoice::kNever}});
    options.verbosity = find_verbosity(values);
    if (options.output == OutputFormat::kJson && options.color == ColorChoice::kAlways)
        throw Error(ErrorCode::kUsage, "--color", "expected auto or never beside --output-format json, found always");
    if (options.form == PromptForm::kRaw && (options.chat_format || !options.system.empty()))
        throw Error(ErrorCode::kUsage, "--no-chat", "expected no --system-prompt and no --chat-template beside it");
    return options;
}

}  // namespace lfm::tools
