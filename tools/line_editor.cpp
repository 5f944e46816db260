#include "tools/line_editor.h"

#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <cwchar>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <histedit.h>
#include <poll.h>
#include <unistd.h>

#include "tools/stop_signals.h"

namespace lfm::tools {
namespace {

constexpr int kHistoryLines = 1000;
constexpr std::string_view kBlock = "\"\"\"";

/// libedit decodes keys by the locale; without one it would take UTF-8 for Latin bytes.
void choose_utf8_locale() {
    const char* chosen = std::setlocale(LC_CTYPE, "");
    const bool plain = chosen == nullptr || std::string_view(chosen) == "C" || std::string_view(chosen) == "POSIX";
    if (plain) std::setlocale(LC_CTYPE, "C.UTF-8");
}

}  // namespace

std::filesystem::path default_history_file() {
    namespace fs = std::filesystem;
    const char* state = std::getenv("XDG_STATE_HOME");
    const char* home = std::getenv("HOME");
    fs::path folder;
    if (state != nullptr && fs::path(state).is_absolute())
        folder = state;
    else if (home != nullptr && fs::path(home).is_absolute())
        folder = fs::path(home) / ".local/state";
    else
        return {};
    std::error_code ignored;
    fs::create_directories(folder / "lfm", ignored);
    return folder / "lfm/history";
}

void LineEditor::EndEditor::operator()(editline* editor) const { ::el_end(editor); }
void LineEditor::EndHistory::operator()(struct history* lines) const { ::history_end(lines); }

LineEditor::LineEditor(std::filesystem::path history_file) : history_file_(std::move(history_file)) {
    choose_utf8_locale();
    history_.reset(::history_init());
    editor_.reset(::el_init("lfm-run", stdin, stdout, stderr));
    ::el_set(editor_.get(), EL_CLIENTDATA, this);
    ::el_set(editor_.get(), EL_PROMPT, &LineEditor::prompt_of);
    ::el_set(editor_.get(), EL_EDITOR, "emacs");
    ::el_set(editor_.get(), EL_SIGNAL, 0);  // Ctrl-C is ours
    ::el_set(editor_.get(), EL_GETCFN, &LineEditor::read_key);
    ::el_set(editor_.get(), EL_HIST, ::history, history_.get());
    HistEvent event;
    ::history(history_.get(), &event, H_SETSIZE, kHistoryLines);
    ::history(history_.get(), &event, H_SETUNIQUE, 1);
    if (history_file_.empty()) return;
    // Made before libedit writes it, so that it never was readable for others.
    const int file = ::open(history_file_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (file >= 0) ::close(file);
    ::history(history_.get(), &event, H_LOAD, history_file_.c_str());
}

LineEditor::~LineEditor() = default;

LineEditor& LineEditor::of(editline* editor) {
    void* self = nullptr;
    ::el_get(editor, EL_CLIENTDATA, &self);
    return *static_cast<LineEditor*>(self);
}

/// One key for libedit: 1, 0 at the end of input, -1 when a stop signal came.
int LineEditor::read_key(editline* editor, wchar_t* key) {
    constexpr int kMilliseconds = 100;  // a signal may come just before poll(), or to another thread: look now and then
    std::mbstate_t state{};
    while (!stop_flag()) {
        if (SuspendLater::is_asked()) of(editor).suspend();
        pollfd input{STDIN_FILENO, POLLIN, 0};
        if (::poll(&input, 1, kMilliseconds) <= 0) continue;
        char byte;
        const ssize_t n = ::read(STDIN_FILENO, &byte, 1);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return 0;  // a terminal that was closed gives an error: the end as well
        const std::size_t length = std::mbrtowc(key, &byte, 1, &state);
        if (length == static_cast<std::size_t>(-2)) continue;  // the character goes on
        if (length == static_cast<std::size_t>(-1)) *key = 0xFFFD;
        return 1;
    }
    return -1;
}

char* LineEditor::prompt_of(editline* editor) { return of(editor).prompt_.data(); }

/// Whoever uses the terminal meanwhile finds it as it was before the prompt.
void LineEditor::suspend() {
    ::el_set(editor_.get(), EL_PREP_TERM, 0);
    suspend_later_.reset();  // stops here
    suspend_later_.emplace();
    ::el_set(editor_.get(), EL_PREP_TERM, 1);
    ::el_set(editor_.get(), EL_REFRESH);
}

Input LineEditor::read() {
    Input line = read_line("> ");
    if (line.end != InputEnd::kEntered) return line;
    Input message;
    if (line.text == kBlock) {
        for (bool first = true;; first = false) {
            line = read_line(". ");
            if (line.end != InputEnd::kEntered) return line;
            if (line.text == kBlock) return message;
            message.text += (first ? "" : "\n") + line.text;
        }
    }
    while (line.text.ends_with('\\')) {
        line.text.back() = '\n';
        message.text += line.text;
        line = read_line(". ");
        if (line.end != InputEnd::kEntered) return line;
    }
    message.text += line.text;
    return message;
}

Input LineEditor::read_line(const char* prompt) {
    prompt_ = prompt;
    ::el_resize(editor_.get());  // the window may have changed since
    suspend_later_.emplace();
    // Before the prompt shows: else a Ctrl-D typed at once would still meet the terminal's own line mode, and be lost.
    ::el_set(editor_.get(), EL_PREP_TERM, 1);
    int count = 0;
    const char* text = ::el_gets(editor_.get(), &count);
    suspend_later_.reset();
    if (text == nullptr || count <= 0) {
        ::el_reset(editor_.get());
        std::fputs("\n", stdout);
        std::fflush(stdout);
        return {stop_flag() ? InputEnd::kInterrupted : InputEnd::kEndOfInput, {}};
    }
    std::string line(text, static_cast<std::size_t>(count));
    if (line.ends_with('\n')) line.pop_back();
    remember(line);
    return {InputEnd::kEntered, std::move(line)};
}

void LineEditor::remember(const std::string& line) {
    if (line.find_first_not_of(" \t") == std::string::npos) return;
    HistEvent event;
    ::history(history_.get(), &event, H_ENTER, line.c_str());
    if (!history_file_.empty()) ::history(history_.get(), &event, H_SAVE, history_file_.c_str());
}

}  // namespace lfm::tools
