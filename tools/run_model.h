// A model with everything lfm-run needs beside its weights: tokenizer, chat format, sampling values, a session.
#pragma once

#include <optional>
#include <string>

#include "memory/ledger.h"
#include "runtime/chat_template.h"
#include "runtime/generator.h"
#include "runtime/model.h"
#include "runtime/placed_session.h"
#include "runtime/session.h"
#include "runtime/tokenizer.h"
#include "runtime/trace.h"
#include "tools/console.h"
#include "tools/run_options.h"

namespace lfm::tools {

/// Not movable: the session refers to the model.
class RunModel {
public:
    /// Opens, checks, plans and reads the model into memory, with progress on the console. Throws Error{kInvalidModel}
    /// for any file that cannot be used, Error{kInterrupted} when the stop flag goes up.
    RunModel(const RunOptions& options, const Console& console, Ledger& ledger);
    RunModel(const RunModel&) = delete;
    RunModel& operator=(const RunModel&) = delete;

    const std::string& path() const { return path_; }
    const Tokenizer& tokenizer() const { return tokenizer_; }
    /// As --chat-template says, else as recognised.
    ChatFormat chat_format() const { return chat_format_; }
    const GenerationOptions& generation() const { return generation_; }
    const Model& model() const { return placed_->model(); }
    Session& session() { return placed_->session(); }
    const PlacedSession& placed() const { return *placed_; }
    /// What ran when, for Perfetto; of the steps that found room. Empty without --trace.
    std::string trace_json() const { return trace_ ? trace_->json() : std::string(); }
    /// Empty: the host alone computes.
    const std::string& device_name() const { return device_name_; }
    std::uint32_t n_threads() const { return session_options_.n_threads; }
    double load_seconds() const { return load_seconds_; }

private:
    struct Opened;  // the file, before its bytes move into the model
    RunModel(const RunOptions& options, const Console& console, Ledger& ledger, Opened opened);
    static Opened open(const RunOptions& options, const Console& console);
    void place(Opened& opened, const Console& console, Ledger& ledger);
    void say_what_was_chosen(const RunOptions& options, const Console& console, const Ledger& ledger) const;

    std::string path_;
    Tokenizer tokenizer_;
    Recognised recognised_;
    ChatFormat chat_format_;
    FileSampling file_sampling_;
    GenerationOptions generation_;
    SessionOptions session_options_;
    std::string device_name_;
    std::optional<Trace> trace_;
    std::optional<PlacedSession> placed_;
    double load_seconds_ = 0;
};

}  // namespace lfm::tools
