// Ends generated text at the first stop string, however the text is split into pieces.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lfm {

class StopStrings {
public:
    /// Throws kInvalidInput when a string is empty or longer than 4096 bytes.
    explicit StopStrings(std::vector<std::string> strings);

    struct Result {
        std::string text;      // may be shown: no later piece can make it part of a stop string
        bool stopped = false;  // a stop string was met; text ends before it
    };

    /// The match that is complete first wins, the longer one on a tie: what a token-by-token reader sees first.
    /// After a stop every push gives {"", true}.
    Result push(std::string_view text);

    /// The text that was held back; nothing after a stop.
    std::string finish();

private:
    std::vector<std::string> strings_;
    std::string held_;  // shorter than the longest stop string
    bool stopped_ = false;
};

}  // namespace lfm
