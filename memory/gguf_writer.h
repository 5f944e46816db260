// Writing GGUF files: metadata and tensor directory into bytes; the data section is the caller's.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "memory/gguf.h"

namespace lfm {

/// Collects entries and tensors, then gives the header with the padding up to the data section. Version 3,
/// alignment 32.
class GgufWriter {
public:
    void add(std::string_view key, std::uint32_t value);
    void add(std::string_view key, float value);
    void add(std::string_view key, bool value);
    void add(std::string_view key, std::string_view value);
    void add(std::string_view key, std::span<const std::int32_t> values);
    void add(std::string_view key, std::span<const std::string> values);

    /// `offset` counts from the start of the data section and is a multiple of 32.
    void add_tensor(const GgufTensor& tensor);

    std::string header() const;

private:
    void begin_entry(std::string_view key, GgufType type);

    std::string entries_;
    std::string tensors_;
    std::uint64_t n_entries_ = 0;
    std::uint64_t n_tensors_ = 0;
};

}  // namespace lfm
