// lfm-run: answers a prompt, or chats on a terminal.
#include <chrono>
#include <csignal>
#include <optional>
#include <string>
#include <vector>

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/session/chat_session.h"
#include "tools/common/machine_cache.h"
#include "tools/common/model_options.h"
#include "tools/common/stop_signals.h"
#include "tools/common/suspend_signal.h"
#include "tools/common/trace_output.h"
#include "tools/run/answer_output.h"
#include "tools/run/chat.h"
#include "tools/run/device_text.h"
#include "tools/run/model.h"
#include "tools/run/options.h"
#include "tools/run/report.h"

namespace lfm::tools {
namespace {

/// A file's last line break belongs to the file, not to the prompt.
std::string read_prompt_file(const std::string& path) {
    std::string text = read_text(path);
    if (text.ends_with('\n')) text.pop_back();
    if (text.ends_with('\r')) text.pop_back();
    return text;
}

/// Whether standard input is a pipe or a file with something in it. A pipe that stays silent is one that whoever
/// started us left open.
bool brings_text(const Console& console) {
    struct stat status {};
    if (::fstat(STDIN_FILENO, &status) != 0) return false;
    if (S_ISREG(status.st_mode)) return true;
    if (!S_ISFIFO(status.st_mode)) return false;
    constexpr int kPatience = 3000;  // ms
    pollfd input{STDIN_FILENO, POLLIN, 0};
    if (::poll(&input, 1, kPatience) > 0) return true;
    console.note("warning: nothing came from standard input in 3 s: going on without it; </dev/null spares the wait");
    return false;
}

/// Nothing: a chat. Throws Error{kUsage} when there is neither a prompt nor a terminal to chat on.
std::optional<std::string> find_prompt(const RunOptions& options, const Console& console) {
    std::optional<std::string> prompt = options.prompt;
    const auto add = [&](const std::string& text) {
        if (!text.empty() || !prompt) prompt = prompt && !prompt->empty() ? *prompt + "\n\n" + text : text;
    };
    if (options.file) add(read_prompt_file(*options.file));
    if (prompt) {
        if (options.file != "-" && brings_text(console)) add(read_prompt_file("-"));
    } else {
        if (!::isatty(STDIN_FILENO)) {
            prompt = read_prompt_file("-");
        } else {
            const bool chats =
                ::isatty(STDOUT_FILENO) && options.form == PromptForm::kChat && options.output == OutputFormat::kText;
            if (!chats) throw Error(ErrorCode::kUsage, "prompt", "expected -p, -f or a pipe, found none; see --help");
            return std::nullopt;
        }
    }
    if (prompt->empty()) throw Error(ErrorCode::kUsage, "prompt", "expected text, found none; see --help");
    return prompt;
}

Generation generate(const RunOptions& options, RunModel& model, const std::string& prompt, const SegmentSink& sink) {
    const Tokenizer& tokenizer = model.tokenizer();
    if (options.form == PromptForm::kChat) {
        ChatSession chat(model.session(), tokenizer,
                         {model.chat_format(), options.system, options.parse, options.on_full, model.generation()});
        return chat.ask(prompt, sink);
    }
    std::vector<std::int32_t> tokens = tokenizer.encode(prompt, options.parse);
    const auto bos = tokenizer.bos();
    // A text that begins with the token itself needs no other; tokens are in it only when they are asked for.
    if (tokenizer.add_bos() && bos && (tokens.empty() || tokens.front() != *bos)) tokens.insert(tokens.begin(), *bos);
    return Generator(model.session(), tokenizer).complete(tokens, model.generation(), sink);
}

using Clock = std::chrono::steady_clock;

int answer_once(const RunOptions& options, RunModel& model, const std::string& prompt, const Console& console,
                Clock::time_point start) {
    AnswerOutput output(reasoning_place(options));
    const SegmentSink sink = [&](const Segment& segment) { output.write(segment); };
    const bool streams = options.output == OutputFormat::kText;
    Generation generation;
    const std::chrono::duration<double> ready = Clock::now() - start;
    try {
        generation = generate(options, model, prompt, streams ? sink : SegmentSink());
    } catch (const Error& error) {
        // What is wrong is said on a line of its own. Where stdout itself is, nothing more is written.
        if (error.code() != ErrorCode::kIo) output.finish();
        throw;
    }
    const double first_token = ready.count() + generation.stats.prompt_seconds;
    if (options.reasoning == ReasoningChoice::kHide) generation.reasoning.clear();
    if (streams)
        output.finish();
    else
        write_stdout(json_report(generation, model, first_token));

    if (generation.end == EndReason::kContextFull)
        console.note("warning: context full after " + std::to_string(model.session().n_ctx()) +
                     " tokens, the answer is cut; -c makes it longer");
    if (generation.end == EndReason::kInterrupted) return stop_exit_code();
    if (console.verbosity() != Verbosity::kQuiet) {
        const auto ram_bandwidth = measure_ram(model);
        console.note(timing_text(generation.stats, model, ram_bandwidth) + first_token_text(first_token));
        if (ram_bandwidth) forget_slow_profile(*ram_bandwidth, model.n_threads(), console);
    }
    for (const std::string& line : {device_text(model), device_remarks(model)})
        if (!line.empty()) console.note(line);
    model.say_slower_ways();
    return 0;
}

int run(const RunOptions& options) {
    const auto start = Clock::now();
    if (options.action == RunAction::kHelp) return write_stdout(run_help()), 0;
    if (options.action == RunAction::kVersion) return write_stdout(version_text("lfm-run") + "\n"), 0;
    const auto inputs = options.trace_file ? files_read(options) : std::vector<std::string>();
    TraceOutput trace(options.trace_file, inputs, "lfm-run " + model_path(options));
    const Console console("lfm-run", options.verbosity);
    const std::optional<std::string> prompt = find_prompt(options, console);
    install_stop_signals();
    install_suspend_signal();
    Ledger ledger;
    try {
        RunModel model(options, console, ledger, trace.trace());
        const int code =
            prompt ? answer_once(options, model, *prompt, console, start) : run_chat(options, model, ledger, console);
        trace.keep();
        return code;
    } catch (const Error& error) {
        if (error.code() != ErrorCode::kInterrupted) throw;
        return stop_exit_code();
    }
}

}  // namespace
}  // namespace lfm::tools

int main(int argc, char** argv) {
    // As every filter: whoever closes the pipe ends us without a word, also when our parent ignores the signal.
    std::signal(SIGPIPE, SIG_DFL);
    return lfm::tools::run_tool("lfm-run", [&] {
        return lfm::tools::run(lfm::tools::parse_run_options({argv + 1, argv + argc}));
    });
}
