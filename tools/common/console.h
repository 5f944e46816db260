// What the programs say besides their answer: on stderr, as much as was asked for.
#pragma once

#include <string_view>

namespace lfm::tools {

enum class Verbosity { kQuiet, kNormal, kVerbose };
enum class ColorChoice { kAuto, kAlways, kNever };
enum class Color { kOff, kOn };

/// kAuto: on a terminal, unless NO_COLOR is set (no-color.org) or the terminal is dumb.
Color color_for(ColorChoice choice, int descriptor);

/// Writes all of the text to standard output, also when signals interrupt. Throws Error{kIo} when writing fails.
void write_stdout(std::string_view text);

class Console {
public:
    Console(std::string_view tool, Verbosity verbosity) : tool_(tool), verbosity_(verbosity) {}

    Verbosity verbosity() const { return verbosity_; }
    /// A line "tool: text", however quiet.
    void error(std::string_view text) const;
    /// The same, unless quiet.
    void note(std::string_view text) const;
    /// The same, when verbose.
    void detail(std::string_view text) const;

private:
    std::string_view tool_;
    Verbosity verbosity_;
};

/// One line on a terminal's stderr, written over itself; nothing elsewhere, when quiet, and in the first 0.3 s.
class ProgressLine {
public:
    ProgressLine(const Console& console, std::string_view label);
    ~ProgressLine();
    ProgressLine(const ProgressLine&) = delete;
    ProgressLine& operator=(const ProgressLine&) = delete;

    void update(double fraction);

private:
    std::string_view label_;
    double begin_;    // seconds of the steady clock
    int shown_ = -1;  // percent; -1: nothing on the line
    bool enabled_;
};

}  // namespace lfm::tools
