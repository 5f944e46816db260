#include "runtime/text/utf8_stream.h"

#include <algorithm>

namespace lfm {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

struct LeadByte {
    std::size_t length;       // 0: cannot begin a character
    unsigned char low, high;  // range of the second byte
};

// Unicode 15, table 3-7 (well-formed UTF-8): the second byte's range excludes overlong forms and surrogates.
LeadByte lead_byte(unsigned char byte) {
    if (byte < 0x80) return {1, 0, 0};
    if (byte < 0xC2) return {0, 0, 0};
    if (byte < 0xE0) return {2, 0x80, 0xBF};
    if (byte == 0xE0) return {3, 0xA0, 0xBF};
    if (byte == 0xED) return {3, 0x80, 0x9F};
    if (byte < 0xF0) return {3, 0x80, 0xBF};
    if (byte == 0xF0) return {4, 0x90, 0xBF};
    if (byte < 0xF4) return {4, 0x80, 0xBF};
    if (byte == 0xF4) return {4, 0x80, 0x8F};
    return {0, 0, 0};
}

}  // namespace

Utf8Sequence first_utf8_sequence(std::string_view bytes) {
    const LeadByte lead = lead_byte(static_cast<unsigned char>(bytes.front()));
    if (lead.length == 0) return {Utf8State::kInvalid, 1};
    for (std::size_t i = 1; i < lead.length; ++i) {
        if (i == bytes.size()) return {Utf8State::kIncomplete, i};
        const auto byte = static_cast<unsigned char>(bytes[i]);
        const unsigned char low = i == 1 ? lead.low : 0x80;
        const unsigned char high = i == 1 ? lead.high : 0xBF;
        if (byte < low || byte > high) return {Utf8State::kInvalid, i};
    }
    return {Utf8State::kComplete, lead.length};
}

std::string Utf8Stream::push(std::string_view bytes) {
    pending_ += bytes;
    std::string text;
    std::string_view rest = pending_;
    while (!rest.empty()) {
        const Utf8Sequence sequence = first_utf8_sequence(rest);
        if (sequence.state == Utf8State::kIncomplete) break;
        text += sequence.state == Utf8State::kComplete ? rest.substr(0, sequence.length) : kReplacement;
        rest.remove_prefix(sequence.length);
    }
    pending_.erase(0, pending_.size() - rest.size());
    return text;
}

std::string Utf8Stream::finish() {
    if (pending_.empty()) return {};
    pending_.clear();
    return std::string(kReplacement);  // one incomplete character is one maximal subpart
}

}  // namespace lfm
