// GPT-2's byte-level alphabet, in which vocabularies spell their tokens: one printable character for each byte.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace lfm {

/// Appends the bytes that `spelled` stands for ("Ġthe" gives " the"). What is not of the alphabet is copied as it is.
void append_byte_level(std::string_view spelled, std::string& bytes);

/// The character of one byte, in UTF-8 (0x20 gives "Ġ").
std::string spell_byte(std::uint8_t byte);

}  // namespace lfm
