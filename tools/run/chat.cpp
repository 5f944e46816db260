#include "tools/run/chat.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>

#include <unistd.h>

#include "runtime/session/chat_session.h"
#include "tools/common/stop_signals.h"
#include "tools/run/answer_output.h"
#include "tools/run/device_text.h"
#include "tools/run/line_editor.h"
#include "tools/run/report.h"

namespace lfm::tools {
namespace {

constexpr std::string_view kHelp = R"(/help    this text
/clear   forget the chat, keep the system prompt
/regen   answer the last message again
/stats   context used, speed of the last answer
/plan    what lies where, and why
/mem     memory, by device and purpose
/exit    leave, as Ctrl-D does
Tab completes a command. A message that begins with "/" is written with two: //tmp is a folder.
What is pasted is one message, however many lines it has; Enter sends it.
A line ending in \ goes on in the next; a line """ begins a block, another ends it.
Ctrl-C stops an answer; twice, it leaves.
)";

constexpr std::array<std::string_view, 8> kCommands{"/help", "/clear", "/regen", "/stats",
                                                    "/plan", "/mem",   "/exit",  "/quit"};

enum class Next { kGoOn, kLeave };

class TerminalChat {
public:
    TerminalChat(const RunOptions& options, RunModel& model, const Ledger& ledger, const Console& console)
        : options_(options),
          model_(model),
          ledger_(ledger),
          console_(console),
          chat_(model.session(), model.tokenizer(),
                {model.chat_format(), options.system, options.parse, options.on_full, model.generation()}),
          editor_(default_history_file(), {kCommands.begin(), kCommands.end()}) {}

    int run() {
        console_.note(model_.model().hyper().name + "; /help lists the commands");
        bool at_second_signal = false;  // Ctrl-C at the prompt, twice in a row
        for (;;) {
            const Input input = editor_.read();
            if (input.end == InputEnd::kEndOfInput) return 0;
            if (input.end == InputEnd::kInterrupted) {
                if (at_second_signal || stop_exit_code() == kTerminated) return stop_exit_code();
                at_second_signal = true;
                clear_stop_flag();
                console_.note("Ctrl-C again or Ctrl-D leaves");
                continue;
            }
            at_second_signal = false;
            if (take(input.text) == Next::kLeave) return exit_code_;
        }
    }

private:
    static constexpr int kTerminated = 143;  // SIGTERM asks to leave, not to stop an answer

    Next take(const std::string& text) {
        if (text.find_first_not_of(" \t\n") == std::string::npos) return Next::kGoOn;
        if (text.starts_with("//")) return ask(text.substr(1));
        if (!text.starts_with('/') || text.find('\n') != std::string::npos) return ask(text);
        const std::size_t end = std::min(text.find_first_of(" \t"), text.size());
        const std::string command = text.substr(0, end);
        const bool more = text.find_first_not_of(" \t", end) != std::string::npos;
        if (command == "/exit" || command == "/quit") return Next::kLeave;
        if (std::ranges::find(kCommands, command) == kCommands.end())
            console_.error("unknown command " + text + "; /help lists them, // begins a message with /");
        else if (more && command != "/help")
            console_.error(command + " takes nothing behind it; // begins a message with /");
        else
            return obey(command);
        return Next::kGoOn;
    }

    Next obey(const std::string& command) {
        if (command == "/help") write_stdout(kHelp);
        if (command == "/clear") chat_.clear();
        if (command == "/stats") print_stats();
        if (command == "/plan") write_stdout(plan_in_use(model_));
        if (command == "/mem") write_stdout(memory_text(ledger_, model_));
        if (command != "/regen") return Next::kGoOn;
        if (chat_.can_regenerate())
            return answer([&](const SegmentSink& sink) { return chat_.regenerate(sink); }, std::nullopt);
        console_.error("there is no answer yet");
        return Next::kGoOn;
    }

    Next ask(const std::string& message) {
        return answer([&](const SegmentSink& sink) { return chat_.ask(message, sink); }, message);
    }

    /// `generate` asks the chat for an answer, which goes to the terminal as it comes. A signal in the meantime ends
    /// the answer; SIGTERM also the chat. `message`: the new one, if there is one.
    template <typename Generate>
    Next answer(Generate generate, const std::optional<std::string>& message) {
        AnswerOutput output(reasoning_place(options_));
        try {
            const Generation generation = generate([&](const Segment& segment) { output.write(segment); });
            output.finish();
            if (generation.stats.n_prompt > 0) last_ = generation.stats;
            if (generation.n_dropped > 0)
                console_.note("context full: the oldest " +
                              (generation.n_dropped == 1 ? std::string("turn was")
                                                         : std::to_string(generation.n_dropped) + " turns were") +
                              " dropped");
            say_why_it_ended(generation.end);
            if (generation.stats.n_prompt > 0) console_.detail(timing_text(generation.stats, model_, std::nullopt));
            warn_of_trouble();
            model_.say_slower_ways();
            if (!stop_flag() && model_.resplit()) chat_.continue_on(model_.session());
        } catch (const Error& error) {
            output.finish();
            if (error.code() != ErrorCode::kContextFull) throw;
            const bool is_too_long = message && chat_.n_tokens_alone(*message) > model_.session().n_ctx();
            console_.error("the message does not fit (" + error.message() + "); " +
                           (is_too_long ? "it is longer than the whole context, whose size -c sets"
                                        : "/clear starts anew, --on-full drop-oldest forgets old turns"));
        }
        if (!stop_flag()) return Next::kGoOn;
        clear_stop_flag();
        if (stop_exit_code() != kTerminated) return Next::kGoOn;
        exit_code_ = kTerminated;
        return Next::kLeave;
    }

    void say_why_it_ended(EndReason reason) const {
        if (reason == EndReason::kInterrupted) console_.note("stopped");
        if (reason == EndReason::kContextFull)
            console_.note("context full; " +
                          std::string(options_.on_full == OnFull::kDropOldest
                                          ? "old turns are dropped for the next message"
                                          : "/clear starts anew") +
                          ", -c sets its size");
        if (reason == EndReason::kPredictLimit) console_.note("stopped after the tokens that -n allows");
    }

    /// Once; from then on /stats tells.
    void warn_of_trouble() {
        const std::string trouble = warned_ ? "" : device_trouble(model_);
        if (trouble.empty()) return;
        console_.note("warning: " + trouble);
        warned_ = true;
    }

    void print_stats() {
        const Session& session = model_.session();
        std::string text =
            "context: " + std::to_string(session.position()) + " of " + std::to_string(session.n_ctx()) + " tokens\n";
        if (last_) {
            if (!ram_bandwidth_) ram_bandwidth_ = measure_ram(model_);
            text += "last answer: " + timing_text(*last_, model_, ram_bandwidth_) + "\n";
        }
        for (const std::string& line : {device_text(model_), device_remarks(model_)})
            if (!line.empty()) text += line + "\n";
        if (const Device* device = model_.placed().device())
            for (const std::string& remark : device->remarks()) text += model_.device_name() + ": " + remark + "\n";
        write_stdout(text);
    }

    const RunOptions& options_;
    RunModel& model_;
    const Ledger& ledger_;
    const Console& console_;
    ChatSession chat_;
    LineEditor editor_;
    std::optional<GenerationStats> last_;
    std::optional<double> ram_bandwidth_;  // measured when first asked for
    bool warned_ = false;
    int exit_code_ = 0;
};

}  // namespace

int run_chat(const RunOptions& options, RunModel& model, const Ledger& ledger, const Console& console) {
    return TerminalChat(options, model, ledger, console).run();
}

}  // namespace lfm::tools
