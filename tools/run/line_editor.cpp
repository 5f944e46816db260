#include "tools/run/line_editor.h"

#include <algorithm>
#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <cwchar>
#include <string>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <histedit.h>
#include <poll.h>
#include <unistd.h>

#include "tools/common/stop_signals.h"
#include "tools/run/grapheme.h"

namespace lfm::tools {
namespace {

constexpr int kHistoryLines = 1000;
constexpr std::string_view kBlock = "\"\"\"";

/// What libedit holds of the line that is typed. Gone with the next change.
struct TypedLine {
    explicit TypedLine(editline* editor) {
        const LineInfoW* info = ::el_wline(editor);
        text = {info->buffer, static_cast<std::size_t>(info->lastchar - info->buffer)};
        cursor = static_cast<std::size_t>(info->cursor - info->buffer);
    }
    std::wstring_view text;
    std::size_t cursor;
};

// Ask the terminal to frame what is pasted (bracketed paste), and to stop that.
constexpr const char* kFramePastes = "\x1b[?2004h";
constexpr const char* kPastePlainly = "\x1b[?2004l";

void tell_terminal(const char* sequence) {
    const char* terminal = std::getenv("TERM");
    if (terminal == nullptr || std::string_view(terminal) == "dumb") return;
    std::fputs(sequence, stdout);
    std::fflush(stdout);
}

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

LineEditor::LineEditor(std::filesystem::path history_file, std::vector<std::string> commands)
    : history_file_(std::move(history_file)), commands_(std::move(commands)) {
    choose_utf8_locale();
    history_.reset(::history_init());
    editor_.reset(::el_init("lfm-run", stdin, stdout, stderr));
    ::el_set(editor_.get(), EL_CLIENTDATA, this);
    ::el_set(editor_.get(), EL_PROMPT, &LineEditor::prompt_of);
    ::el_set(editor_.get(), EL_EDITOR, "emacs");
    ::el_set(editor_.get(), EL_SIGNAL, 0);  // Ctrl-C is ours
    ::el_set(editor_.get(), EL_GETCFN, &LineEditor::read_key);
    ::el_set(editor_.get(), EL_HIST, ::history, history_.get());
    bind_keys();
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

void LineEditor::bind_keys() {
    struct Key {
        const wchar_t* name;  // libedit keeps the pointer
        unsigned char (*act)(editline* editor, int key);
        std::vector<const wchar_t*> sequences;  // as libedit spells them
    };
    const Key keys[] = {{L"lfm-erase-before", &LineEditor::erase_before, {L"^?", L"^H"}},
                        {L"lfm-erase-after", &LineEditor::erase_after, {L"\\e[3~"}},
                        {L"lfm-erase-or-leave", &LineEditor::erase_or_leave, {L"^D"}},
                        {L"lfm-left", &LineEditor::go_left, {L"^B", L"\\e[D", L"\\eOD"}},
                        {L"lfm-right", &LineEditor::go_right, {L"^F", L"\\e[C", L"\\eOC"}},
                        {L"lfm-paste", &LineEditor::paste, {L"\\e[200~"}},
                        {L"lfm-complete", &LineEditor::complete, {L"^I"}}};
    for (const Key& key : keys) {
        ::el_wset(editor_.get(), EL_ADDFN, key.name, key.name, key.act);
        for (const wchar_t* sequence : key.sequences) ::el_wset(editor_.get(), EL_BIND, sequence, key.name, nullptr);
    }
}

unsigned char LineEditor::erase_before(editline* editor, int) {
    const TypedLine line(editor);
    const std::size_t n = cluster_before(line.text, line.cursor);
    if (n == 0) return CC_ERROR;
    ::el_deletestr(editor, static_cast<int>(n));
    return CC_REFRESH;
}

unsigned char LineEditor::erase_after(editline* editor, int) {
    const TypedLine line(editor);
    const std::size_t n = cluster_after(line.text, line.cursor);
    if (n == 0) return CC_ERROR;
    ::el_cursor(editor, static_cast<int>(n));
    ::el_deletestr(editor, static_cast<int>(n));
    return CC_REFRESH;
}

/// Ctrl-D.
unsigned char LineEditor::erase_or_leave(editline* editor, int key) {
    return TypedLine(editor).text.empty() ? CC_EOF : erase_after(editor, key);
}

unsigned char LineEditor::go_left(editline* editor, int) {
    const TypedLine line(editor);
    const std::size_t n = cluster_before(line.text, line.cursor);
    if (n == 0) return CC_ERROR;
    ::el_cursor(editor, -static_cast<int>(n));
    return CC_CURSOR;
}

unsigned char LineEditor::go_right(editline* editor, int) {
    const TypedLine line(editor);
    const std::size_t n = cluster_after(line.text, line.cursor);
    if (n == 0) return CC_ERROR;
    ::el_cursor(editor, static_cast<int>(n));
    return CC_CURSOR;
}

/// The terminal frames what is pasted, so that its line breaks can be told from the Enter key.
unsigned char LineEditor::paste(editline* editor, int) {
    constexpr std::wstring_view kEnd = L"\x1b[201~";
    constexpr std::size_t kMost = std::size_t{1} << 20;  // what is beyond is dropped, not kept from ending
    std::wstring text;
    for (wchar_t key; !text.ends_with(kEnd);) {
        if (read_key(editor, &key) != 1) return CC_ERROR;
        if (text.size() >= kMost) text.erase(kMost - kEnd.size(), 1);
        text += key;
    }
    text.resize(text.size() - kEnd.size());
    std::wstring clean;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const wchar_t c = text[i];
        if (c == L'\r') {  // terminals send it for a line break
            if (i + 1 == text.size() || text[i + 1] != L'\n') clean += L'\n';
        } else if (c == L'\n' || c == L'\t' || (c >= 0x20 && !(c >= 0x7F && c < 0xA0))) {
            clean += c;
        }
    }
    while (clean.ends_with(L'\n')) clean.pop_back();
    return clean.empty() || ::el_winsertstr(editor, clean.c_str()) == 0 ? CC_REFRESH : CC_ERROR;
}

/// What a command's beginning goes on with; without a single answer, the choice is listed.
unsigned char LineEditor::complete(editline* editor, int) {
    const TypedLine line(editor);
    std::wstring begin(line.text.substr(0, line.cursor));
    if (!begin.starts_with(L'/') || begin.find_first_of(L" \t\n") != std::wstring::npos)
        return ::el_winsertstr(editor, L"\t") == 0 ? CC_REFRESH : CC_ERROR;
    std::vector<std::string> fitting;
    const std::string typed(begin.begin(), begin.end());  // commands are ASCII; anything else fits none
    for (const std::string& command : of(editor).commands_)
        if (command.starts_with(typed)) fitting.push_back(command);
    if (fitting.empty()) return CC_ERROR;
    std::string common = fitting.front();
    for (const std::string& command : fitting)
        common.resize(static_cast<std::size_t>(std::ranges::mismatch(common, command).in1 - common.begin()));
    if (common.size() > typed.size())
        return ::el_insertstr(editor, common.substr(typed.size()).c_str()) == 0 ? CC_REFRESH : CC_ERROR;
    if (fitting.size() == 1) return CC_NORM;
    std::string list = "\r\n";
    for (const std::string& command : fitting) list += command + "  ";
    std::fputs((list + "\r\n").c_str(), stdout);
    std::fflush(stdout);
    return CC_REDISPLAY;
}

char* LineEditor::prompt_of(editline* editor) { return of(editor).prompt_.data(); }

/// Whoever uses the terminal meanwhile finds it as it was before the prompt.
void LineEditor::suspend() {
    tell_terminal(kPastePlainly);
    ::el_set(editor_.get(), EL_PREP_TERM, 0);
    suspend_later_.reset();  // stops here
    suspend_later_.emplace();
    ::el_set(editor_.get(), EL_PREP_TERM, 1);
    tell_terminal(kFramePastes);
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
    tell_terminal(kFramePastes);
    int count = 0;
    const char* text = ::el_gets(editor_.get(), &count);
    tell_terminal(kPastePlainly);
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
