// A model with everything lfm-run needs beside its weights: tokenizer, chat format, sampling values, a session.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "memory/ledger.h"
#include "runtime/chat/chat_template.h"
#include "runtime/session/generator.h"
#include "runtime/session/placed.h"
#include "runtime/session/session.h"
#include "runtime/session/split_watch.h"
#include "runtime/step/trace.h"
#include "runtime/tensors/model.h"
#include "runtime/text/tokenizer.h"
#include "tools/common/console.h"
#include "tools/common/suspend_signal.h"
#include "tools/run/options.h"
#include "tools/run/plan.h"

namespace lfm::tools {

std::string model_path(const RunOptions& options);  // also of the shipped one
/// The model, also the shipped one, and the other files that the options name: what no output may replace.
std::vector<std::string> files_read(const RunOptions& options);

/// Not movable: the session refers to the model.
class RunModel {
public:
    /// Opens, checks, plans and reads the model into memory, with progress on the console. Console, ledger and trace,
    /// which may be null, outlive it. Throws Error{kInvalidModel} for any file that cannot be used, Error{kInterrupted}
    /// when the stop flag goes up.
    RunModel(const RunOptions& options, const Console& console, Ledger& ledger, Trace* trace);
    RunModel(const RunModel&) = delete;
    RunModel& operator=(const RunModel&) = delete;

    const std::string& path() const { return path_; }
    const Tokenizer& tokenizer() const { return tokenizer_; }
    /// As --chat-template says, else as recognised.
    ChatFormat chat_format() const { return chat_format_; }
    const GenerationOptions& generation() const { return generation_; }
    const Model& model() const { return placed_->model(); }
    Session& session() { return placed_->session(); }
    const Placed& placed() const { return *placed_; }
    /// With -v: where the device goes a slower way than it could, as far as it was not said before.
    void say_slower_ways();
    /// Between answers: moves to another split when what was learnt says that it repays. Returns whether: then
    /// session() is another one, which continues the sequence. Throws as the constructor does; then the model is gone.
    bool resplit();
    /// Empty: the host alone computes.
    const std::string& device_name() const { return planned_.device.name; }
    std::uint32_t n_threads() const { return planned_.session.n_threads; }
    double load_seconds() const { return load_seconds_; }

private:
    struct Opened;  // the file, before its bytes move into the model
    RunModel(const RunOptions& options, const Console& console, Ledger& ledger, Trace* trace, Opened opened);
    static Opened open(const RunOptions& options, const Console& console);
    PlaceRequest request(ProgressLine& progress);
    std::string copying_text() const { return "copying to " + device_name(); }
    void say_what_was_chosen(const RunOptions& options) const;

    const Console& console_;
    Ledger& ledger_;
    std::string path_;
    std::optional<GgufFile> file_;  // until it is loaded; opened anew for every attempt after the first
    ModelDescription description_;
    PlannedRun planned_;
    Tokenizer tokenizer_;
    Recognised recognised_;
    ChatFormat chat_format_;
    FileSampling file_sampling_;
    GenerationOptions generation_;
    SuspendBetweenSteps between_steps_;
    std::optional<Placed> placed_;
    SplitWatch splits_;
    std::vector<std::string> said_;  // of the device's remarks
    double load_seconds_ = 0;
};

}  // namespace lfm::tools
