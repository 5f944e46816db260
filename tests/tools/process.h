// Runs programs: to their end with pipes, or on a terminal of their own.
#pragma once

#include <chrono>
#include <csignal>
#include <stdexcept>
#include <string>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

namespace lfm::test {

// A second is what users are promised; sanitizers slow a program tenfold and more.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
inline constexpr std::chrono::seconds kStopsWithin{30};
#else
inline constexpr std::chrono::seconds kStopsWithin{1};
#endif

/// 128 + signal when a signal ended it, as shells say it.
inline int exit_code_of(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

/// Whether the child stops (not: ends) within the time. Leaves its exit status to be waited for.
inline bool stops(pid_t child, std::chrono::duration<double> within) {
    const auto until = std::chrono::steady_clock::now() + within;
    do {
        siginfo_t found{};
        if (::waitid(P_PID, static_cast<id_t>(child), &found, WSTOPPED | WNOHANG) == 0 && found.si_pid == child)
            return true;
        ::usleep(1000);
    } while (std::chrono::steady_clock::now() < until);
    return false;
}

[[noreturn]] inline void become(const std::vector<std::string>& command) {
    std::vector<char*> words;
    for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    ::execv(words[0], words.data());
    ::_exit(127);
}

/// A child with pipes; its output is collected while waiting.
class Process {
public:
    explicit Process(const std::vector<std::string>& command) {
        int in[2], out[2], err[2];
        if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0 || ::pipe2(err, O_CLOEXEC) != 0)
            throw std::runtime_error("pipe");
        std::signal(SIGPIPE, SIG_IGN);  // a child may leave without reading
        id_ = ::fork();
        if (id_ < 0) throw std::runtime_error("fork");
        if (id_ == 0) {
            ::dup2(in[0], STDIN_FILENO), ::dup2(out[1], STDOUT_FILENO), ::dup2(err[1], STDERR_FILENO);
            become(command);
        }
        ::close(in[0]), ::close(out[1]), ::close(err[1]);
        in_ = in[1], out_ = out[0], err_ = err[0];
    }
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;
    ~Process() {
        if (id_ > 0) ::kill(id_, SIGKILL), ::waitpid(id_, nullptr, 0);
        for (const int descriptor : {in_, out_, err_})
            if (descriptor >= 0) ::close(descriptor);
    }

    void end_input(const std::string& text) {
        for (std::size_t at = 0; at < text.size();) {
            const ssize_t n = ::write(in_, text.data() + at, text.size() - at);
            if (n <= 0) break;
            at += static_cast<std::size_t>(n);
        }
        ::close(in_), in_ = -1;
    }

    /// Waits until `size` bytes of stdout are there.
    void wait_for_output(std::size_t size) {
        while (stdout_text.size() < size && read_some()) {
        }
    }
    void signal(int number) { ::kill(id_, number); }
    pid_t id() const { return id_; }
    void close_output() { ::close(out_), out_ = -1; }

    int wait() {
        while (read_some()) {
        }
        int status = 0;
        ::waitpid(id_, &status, 0);
        id_ = -1;
        return exit_code_of(status);
    }

    std::string stdout_text;
    std::string stderr_text;

private:
    bool read_some() {
        pollfd ends[2] = {{out_, POLLIN, 0}, {err_, POLLIN, 0}};
        if ((out_ < 0 && err_ < 0) || ::poll(ends, 2, 60'000) <= 0) return false;
        take(ends[0], out_, stdout_text);
        take(ends[1], err_, stderr_text);
        return true;
    }
    static void take(const pollfd& end, int& descriptor, std::string& text) {
        if (descriptor < 0 || end.revents == 0) return;
        char piece[4096];
        const ssize_t n = ::read(descriptor, piece, sizeof piece);
        if (n > 0) text.append(piece, static_cast<std::size_t>(n));
        if (n <= 0) ::close(descriptor), descriptor = -1;
    }

    pid_t id_ = -1;
    int in_ = -1, out_ = -1, err_ = -1;
};

struct Result {
    int code = 0;
    std::string out, err;
};

inline Result run(const std::vector<std::string>& command, const std::string& input = "") {
    Process process(command);
    process.end_input(input);
    Result result;
    result.code = process.wait();
    result.out = std::move(process.stdout_text);
    result.err = std::move(process.stderr_text);
    return result;
}

/// A child whose stdin, stdout and stderr are one terminal of 80 columns.
class Terminal {
public:
    explicit Terminal(const std::vector<std::string>& command) {
        winsize size{};
        size.ws_row = 24, size.ws_col = 80;
        id_ = ::forkpty(&descriptor_, nullptr, nullptr, &size);
        if (id_ < 0) throw std::runtime_error("forkpty");
        if (id_ == 0) become(command);
    }
    Terminal(const Terminal&) = delete;
    Terminal& operator=(const Terminal&) = delete;
    ~Terminal() {
        if (id_ > 0) ::kill(id_, SIGKILL), ::waitpid(id_, nullptr, 0);
        ::close(descriptor_);
    }

    void type(const std::string& keys) {
        if (::write(descriptor_, keys.data(), keys.size()) < 0) throw std::runtime_error("write to terminal");
    }

    /// Reads until `text` appears after everything waited for before; false after `seconds` or at the end.
    bool wait_for(const std::string& text, double seconds = 20) {
        for (;;) {
            const std::size_t found = screen.find(text, seen_);
            if (found != std::string::npos) return seen_ = found + text.size(), true;
            if (!read_some(seconds)) return false;
        }
    }

    bool wait_for_more() { return read_some(20); }
    void signal(int number) { ::kill(id_, number); }
    pid_t id() const { return id_; }
    /// Whether the terminal gives its program whole lines (canonical mode); line editors read every key.
    bool gives_lines() const {
        termios modes{};
        if (::tcgetattr(descriptor_, &modes) != 0) throw std::runtime_error("tcgetattr");
        return (modes.c_lflag & ICANON) != 0;
    }

    /// Kills a child that prints nothing for 20 s and does not end.
    int wait() {
        while (read_some(20)) {
        }
        // Its end of the terminal closes just before it can be waited for.
        int status = 0;
        for (int i = 0; ::waitpid(id_, &status, WNOHANG) == 0; ++i) {
            if (i == 1000) ::kill(id_, SIGKILL);
            ::usleep(2000);
        }
        id_ = -1;
        return exit_code_of(status);
    }

    std::string screen;  // everything written, escape codes too

private:
    bool read_some(double seconds) {
        pollfd end{descriptor_, POLLIN, 0};
        if (::poll(&end, 1, static_cast<int>(seconds * 1000)) <= 0) return false;
        char piece[4096];
        const ssize_t n = ::read(descriptor_, piece, sizeof piece);
        if (n > 0) screen.append(piece, static_cast<std::size_t>(n));
        return n > 0;  // EIO: the child has ended
    }

    pid_t id_ = -1;
    int descriptor_ = -1;
    std::size_t seen_ = 0;
};

}  // namespace lfm::test
