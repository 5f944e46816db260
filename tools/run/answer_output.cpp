#include "tools/run/answer_output.h"

#include <cstdio>
#include <string>

#include <unistd.h>

#include "memory/error.h"

namespace lfm::tools {

ReasoningPlace reasoning_place(const RunOptions& options) {
    if (options.reasoning == ReasoningChoice::kHide) return ReasoningPlace::kNowhere;
    if (!::isatty(STDOUT_FILENO))
        return options.verbosity == Verbosity::kQuiet                  ? ReasoningPlace::kNowhere
               : color_for(options.color, STDERR_FILENO) == Color::kOn ? ReasoningPlace::kStderrDimmed
                                                                       : ReasoningPlace::kStderr;
    return color_for(options.color, STDOUT_FILENO) == Color::kOn ? ReasoningPlace::kDimmed : ReasoningPlace::kMarked;
}

void AnswerOutput::write(const Segment& segment) {
    if (segment.kind == SegmentKind::kReasoning)
        write_reasoning(segment.text);
    else
        write_answer(segment.text);
}

void AnswerOutput::write_answer(std::string_view text) {
    if (text.empty()) return;
    end_reasoning();
    write_stdout(text);
    last_ = text.back();
}

void AnswerOutput::write_reasoning(std::string_view text) {
    if (place_ == ReasoningPlace::kNowhere || text.empty()) return;
    if (on_stderr()) {
        const std::string shown =
            place_ == ReasoningPlace::kStderrDimmed ? "\033[2m" + std::string(text) + "\033[0m" : std::string(text);
        std::fwrite(shown.data(), 1, shown.size(), stderr);
        last_on_stderr_ = text.back();
    } else {
        if (!reasoning_ && last_ != '\n') write_stdout("\n");
        if (!reasoning_ && place_ == ReasoningPlace::kMarked) write_stdout("[reasoning]\n");
        // Each piece is dimmed for itself: however the program ends, the terminal does not stay dim.
        write_stdout(place_ == ReasoningPlace::kDimmed ? "\033[2m" + std::string(text) + "\033[0m" : std::string(text));
        last_ = text.back();
    }
    reasoning_ = true;
}

void AnswerOutput::end_reasoning() {
    if (!reasoning_) return;
    reasoning_ = false;
    if (on_stderr()) {
        if (last_on_stderr_ != '\n') std::fputs("\n", stderr);
        last_on_stderr_ = '\n';
    } else {
        if (last_ != '\n') write_stdout("\n");
        if (place_ == ReasoningPlace::kMarked) write_stdout("[answer]\n");
        last_ = '\n';
    }
}

void AnswerOutput::finish() {
    end_reasoning();
    if (last_ != '\n') write_stdout("\n");
    last_ = '\n';
}

}  // namespace lfm::tools
