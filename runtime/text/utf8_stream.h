// Turns a stream of bytes, cut anywhere, into whole UTF-8 characters.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace lfm {

enum class Utf8State { kComplete, kIncomplete, kInvalid };

/// The first character of `bytes`. kInvalid: `length` bytes stand for one U+FFFD (Unicode's "maximal subpart").
/// kIncomplete: all `length` bytes begin a character whose rest is missing.
struct Utf8Sequence {
    Utf8State state;
    std::size_t length;
};

/// `bytes` must not be empty.
Utf8Sequence first_utf8_sequence(std::string_view bytes);

/// A token may end in the middle of a character: what is incomplete waits for the next piece.
/// Invalid bytes become U+FFFD. However the bytes are split, push()... + finish() give the same text.
class Utf8Stream {
public:
    std::string push(std::string_view bytes);

    /// U+FFFD when a character is still incomplete, otherwise nothing; the stream is empty afterwards.
    std::string finish();

private:
    std::string pending_;  // at most 3 bytes
};

}  // namespace lfm
