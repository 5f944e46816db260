// The one exception type: thrown for broken files, drivers and devices. The programs make an exit code of its code.
#pragma once

#include <exception>
#include <string>
#include <string_view>

namespace lfm {

enum class ErrorCode {
    kUsage,             // wrong options or values; exit code 2
    kShortfall,         // does not fit the budget; exit code 3
    kInvalidModel,      // damaged model file; exit code 4
    kUnsupportedModel,  // sound file, but not a model we run; exit code 4
    kIo,                // reading or writing a file failed; exit code 1
    kInvalidInput,      // bad data from the user (JSON, tokens, text); exit code 1
    kContextFull,       // the sequence is longer than the context; exit code 1
    kNoDevice,          // no device, or none that works, where one was asked for by name; exit code 1
    kDeviceLost,        // exit code 5
    kInterrupted,       // a stop was asked for (Ctrl-C); exit code 130
};

/// `where` names the thing (file, key, tensor); `message` reads "expected X, found Y".
class Error : public std::exception {
public:
    Error(ErrorCode code, std::string_view where, std::string_view message)
        : code_(code), where_(where), message_(message), text_(where_ + ": " + message_) {}

    ErrorCode code() const noexcept { return code_; }
    const std::string& where() const noexcept { return where_; }
    const std::string& message() const noexcept { return message_; }
    const char* what() const noexcept override { return text_.c_str(); }

private:
    ErrorCode code_;
    std::string where_;
    std::string message_;
    std::string text_;
};

}  // namespace lfm
