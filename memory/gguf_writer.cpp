#include "memory/gguf_writer.h"

namespace lfm {
namespace {

template <typename T>
void put(std::string& bytes, T value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put_string(std::string& bytes, std::string_view text) {
    put<std::uint64_t>(bytes, text.size());
    bytes += text;
}

}  // namespace

void GgufWriter::begin_entry(std::string_view key, GgufType type) {
    put_string(entries_, key);
    put(entries_, type);
    ++n_entries_;
}

void GgufWriter::add(std::string_view key, std::uint32_t value) {
    begin_entry(key, GgufType::kU32);
    put(entries_, value);
}

void GgufWriter::add(std::string_view key, float value) {
    begin_entry(key, GgufType::kF32);
    put(entries_, value);
}

void GgufWriter::add(std::string_view key, bool value) {
    begin_entry(key, GgufType::kBool);
    put(entries_, static_cast<std::uint8_t>(value));
}

void GgufWriter::add(std::string_view key, std::string_view value) {
    begin_entry(key, GgufType::kString);
    put_string(entries_, value);
}

void GgufWriter::add(std::string_view key, std::span<const std::int32_t> values) {
    begin_entry(key, GgufType::kArray);
    put(entries_, GgufType::kI32);
    put<std::uint64_t>(entries_, values.size());
    for (const std::int32_t value : values) put(entries_, value);
}

void GgufWriter::add(std::string_view key, std::span<const std::string> values) {
    begin_entry(key, GgufType::kArray);
    put(entries_, GgufType::kString);
    put<std::uint64_t>(entries_, values.size());
    for (const std::string& value : values) put_string(entries_, value);
}

void GgufWriter::add_tensor(const GgufTensor& tensor) {
    put_string(tensors_, tensor.name);
    put(tensors_, tensor.n_dims);
    for (std::uint32_t d = 0; d < tensor.n_dims; ++d) put(tensors_, tensor.dims[d]);
    put(tensors_, tensor.type);
    put(tensors_, tensor.offset);
    ++n_tensors_;
}

std::string GgufWriter::header() const {
    std::string bytes = "GGUF";
    put<std::uint32_t>(bytes, 3);
    put(bytes, n_tensors_);
    put(bytes, n_entries_);
    bytes += entries_;
    bytes += tensors_;
    bytes.resize((bytes.size() + 31) / 32 * 32);
    return bytes;
}

}  // namespace lfm
