// Uses everything that a parsed GGUF file offers: a file that the parser accepts must be safe to use.
#pragma once

#include <cstddef>
#include <string>

#include "memory/error.h"
#include "memory/gguf.h"

namespace lfm::test {

/// Calls every getter on every key and reads the ends of every tensor. Typed refusals are fine.
inline void walk(const GgufFile& file) {
    const auto attempt = [](auto&& getter) {
        try {
            getter();
        } catch (const Error&) {
        }
    };
    for (const GgufEntry& entry : file.entries()) {
        const std::string_view key = entry.key;
        attempt([&] { file.get_u32(key); });
        attempt([&] { file.get_f32(key); });
        attempt([&] { file.find_bool(key); });
        attempt([&] { std::string(file.get_string(key)); });
        attempt([&] { file.find_integers(key); });
        attempt([&] { file.find_floats(key); });
        attempt([&] {
            const auto texts = file.find_strings(key);
            for (const std::string_view text : *texts) std::string{text};
        });
    }
    std::byte sum{};
    for (const GgufTensor& tensor : file.tensors()) {
        const auto bytes = file.data().subspan(tensor.offset, tensor.bytes);
        sum ^= bytes.front() ^ bytes.back();
    }
    [[maybe_unused]] const volatile std::byte used = sum;
}

}  // namespace lfm::test
