#include "runtime/text/byte_level.h"

#include <array>
#include <cstddef>

namespace lfm {
namespace {

constexpr int kFirstMoved = 0x100;   // code point of the first byte without a printable character of its own
constexpr int kAlphabetEnd = 0x144;  // 68 bytes are moved
constexpr int kNotInAlphabet = -1;

constexpr bool stands_for_itself(int byte) {
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

/// Code point to byte.
constexpr std::array<int, kAlphabetEnd> make_alphabet() {
    std::array<int, kAlphabetEnd> bytes{};
    bytes.fill(kNotInAlphabet);
    int moved = kFirstMoved;
    for (int byte = 0; byte < 256; ++byte) bytes[stands_for_itself(byte) ? byte : moved++] = byte;
    return bytes;
}

constexpr std::array<int, kAlphabetEnd> kAlphabet = make_alphabet();

}  // namespace

void append_byte_level(std::string_view spelled, std::string& bytes) {
    for (std::size_t i = 0; i < spelled.size();) {
        const auto lead = static_cast<unsigned char>(spelled[i]);
        const auto second = i + 1 < spelled.size() ? static_cast<unsigned char>(spelled[i + 1]) : 0;
        // The whole alphabet is below U+0800: one or two bytes of UTF-8.
        const bool two_bytes = lead >= 0xC2 && lead <= 0xDF && (second & 0xC0) == 0x80;
        const int code_point = two_bytes ? (lead & 0x1F) << 6 | (second & 0x3F) : lead < 0x80 ? lead : kAlphabetEnd;
        const std::size_t length = two_bytes ? 2 : 1;
        if (code_point < kAlphabetEnd && kAlphabet[code_point] != kNotInAlphabet)
            bytes += static_cast<char>(kAlphabet[code_point]);
        else
            bytes += spelled.substr(i, length);
        i += length;
    }
}

std::string spell_byte(std::uint8_t byte) {
    std::size_t code_point = 0;
    while (kAlphabet[code_point] != byte) ++code_point;
    if (code_point < 0x80) return {static_cast<char>(code_point)};
    return {static_cast<char>(0xC0 | code_point >> 6), static_cast<char>(0x80 | (code_point & 0x3F))};
}

}  // namespace lfm
