// Where generated text goes: the answer to stdout, reasoning apart from it.
#pragma once

#include <string_view>

#include "runtime/text/think_filter.h"
#include "tools/run/options.h"

namespace lfm::tools {

enum class ReasoningPlace {
    kNowhere,
    kDimmed,  // on stdout, in a terminal's faint style
    kMarked,  // on stdout, between lines "[reasoning]" and "[answer]"
    kStderr,
    kStderrDimmed,
};

/// By the options and by what stdout is: what is piped away is the answer alone.
ReasoningPlace reasoning_place(const RunOptions& options);

/// Unbuffered: text is seen as it comes. Throws Error{kIo} when stdout takes no more.
class AnswerOutput {
public:
    explicit AnswerOutput(ReasoningPlace place) : place_(place) {}

    void write(const Segment& segment);
    /// Ends the last line, if it is not.
    void finish();

private:
    void write_answer(std::string_view text);
    void write_reasoning(std::string_view text);
    void end_reasoning();
    bool on_stderr() const { return place_ == ReasoningPlace::kStderr || place_ == ReasoningPlace::kStderrDimmed; }

    ReasoningPlace place_;
    bool reasoning_ = false;  // what was written last
    char last_ = '\n';        // byte on stdout
    char last_on_stderr_ = '\n';
};

}  // namespace lfm::tools
