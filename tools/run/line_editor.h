// Reads lines from a terminal: editing, history (libedit), messages of several lines.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tools/common/suspend_signal.h"

struct editline;  // libedit's EditLine
struct history;   // libedit's History

namespace lfm::tools {

enum class InputEnd { kEntered, kEndOfInput, kInterrupted };

struct Input {
    InputEnd end = InputEnd::kEntered;
    std::string text;
};

class LineEditor {
public:
    /// `history_file` is read now and written after every line, readable by its owner alone; empty: no history file.
    /// That it cannot be read or written is no error. Tab completes `commands` at the beginning of a line.
    LineEditor(std::filesystem::path history_file, std::vector<std::string> commands);
    ~LineEditor();
    LineEditor(const LineEditor&) = delete;
    LineEditor& operator=(const LineEditor&) = delete;

    /// One message without its last line break. A line that ends in '\' goes on in the next; a line """ begins a block
    /// that the next such line ends. What is pasted is part of one line, with its line breaks. kInterrupted: the stop
    /// flag is up (Ctrl-C); what was typed is dropped. Ctrl-Z stops the process, with the terminal as it was before.
    Input read();

private:
    struct EndEditor {
        void operator()(editline* editor) const;
    };
    struct EndHistory {
        void operator()(history* lines) const;
    };
    Input read_line(const char* prompt);
    void remember(const std::string& line);
    void suspend();
    static LineEditor& of(editline* editor);
    static char* prompt_of(editline* editor);
    static int read_key(editline* editor, wchar_t* key);
    // Keys that libedit knows otherwise, or not at all.
    static unsigned char erase_before(editline* editor, int key);
    static unsigned char erase_after(editline* editor, int key);
    static unsigned char erase_or_leave(editline* editor, int key);
    static unsigned char go_left(editline* editor, int key);
    static unsigned char go_right(editline* editor, int key);
    static unsigned char paste(editline* editor, int key);
    static unsigned char complete(editline* editor, int key);
    void bind_keys();

    std::filesystem::path history_file_;
    std::vector<std::string> commands_;
    std::string prompt_;
    std::optional<SuspendLater> suspend_later_;  // while libedit has the terminal
    std::unique_ptr<history, EndHistory> history_;
    std::unique_ptr<editline, EndEditor> editor_;
};

/// $XDG_STATE_HOME/lfm/history, by default in ~/.local/state; creates the folders. Empty when there is no home.
std::filesystem::path default_history_file();

}  // namespace lfm::tools
