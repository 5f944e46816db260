#include "tools/common/console.h"

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include <unistd.h>

#include "memory/error.h"

namespace lfm::tools {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

Color color_for(ColorChoice choice, int descriptor) {
    if (choice != ColorChoice::kAuto) return choice == ColorChoice::kAlways ? Color::kOn : Color::kOff;
    const char* no_color = std::getenv("NO_COLOR");
    const char* terminal = std::getenv("TERM");
    const bool refused =
        (no_color != nullptr && *no_color != '\0') || (terminal != nullptr && std::string_view(terminal) == "dumb");
    return !refused && ::isatty(descriptor) ? Color::kOn : Color::kOff;
}

void write_stdout(std::string_view text) {
    while (!text.empty()) {
        const ssize_t n = ::write(STDOUT_FILENO, text.data(), text.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) throw Error(ErrorCode::kIo, "standard output", std::strerror(errno));
        text.remove_prefix(static_cast<std::size_t>(n));
    }
}

void Console::error(std::string_view text) const {
    const std::string line = std::string(tool_) + ": " + std::string(text) + "\n";
    std::fputs(line.c_str(), stderr);
}

void Console::note(std::string_view text) const {
    if (verbosity_ != Verbosity::kQuiet) error(text);
}

void Console::detail(std::string_view text) const {
    if (verbosity_ == Verbosity::kVerbose) note(text);
}

ProgressLine::ProgressLine(const Console& console, std::string_view label)
    : label_(label), begin_(now()), enabled_(console.verbosity() != Verbosity::kQuiet && ::isatty(STDERR_FILENO)) {}

ProgressLine::~ProgressLine() {
    if (shown_ >= 0) std::fputs("\r\033[K", stderr);
}

void ProgressLine::update(double fraction) {
    constexpr double kPatience = 0.3;
    const int percent = static_cast<int>(fraction * 100);
    if (!enabled_ || percent == shown_ || now() - begin_ < kPatience) return;
    shown_ = percent;
    std::fprintf(stderr, "\r%.*s %d %%", static_cast<int>(label_.size()), label_.data(), percent);
}

}  // namespace lfm::tools
