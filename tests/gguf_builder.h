// Assembles the bytes of a GGUF file in memory, sound or broken on purpose.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "memory/dtype.h"
#include "memory/gguf.h"

namespace lfm::test {

/// Little-endian bytes, appended one value at a time.
class ByteWriter {
public:
    template <typename T>
    ByteWriter& put(T value) {
        static_assert(std::is_trivially_copyable_v<T>);
        return put_bytes(std::as_bytes(std::span(&value, 1)));
    }
    ByteWriter& put_bytes(std::span<const std::byte> bytes) {
        bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
        return *this;
    }
    /// A u64 length and the bytes, GGUF's string.
    ByteWriter& put_string(std::string_view text) {
        put(std::uint64_t{text.size()});
        return put_bytes(std::as_bytes(std::span(text)));
    }
    ByteWriter& pad_to(std::uint64_t alignment) {
        while (alignment > 1 && bytes_.size() % alignment != 0) bytes_.push_back(std::byte{0});
        return *this;
    }
    std::size_t size() const { return bytes_.size(); }
    const std::vector<std::byte>& bytes() const { return bytes_; }

private:
    std::vector<std::byte> bytes_;
};

/// One directory entry, with fields that may contradict each other.
struct TensorSpec {
    std::string name;
    std::uint32_t type = 0;  // GGUF type id, also unknown ones
    std::vector<std::uint64_t> dims;
    std::vector<std::byte> data;
    std::optional<std::uint64_t> offset;  // instead of the next free aligned one
    std::optional<std::uint32_t> n_dims;  // instead of dims.size()
};

/// Entries and tensors are written in the order they are added; nothing is checked. All but build() return *this.
///   const auto bytes = GgufBuilder().add_u32("lfm2.block_count", 2).add_tensor("t", DType::kF32, {4}, data).build();
class GgufBuilder {
public:
    GgufBuilder& add_u8(std::string_view key, std::uint8_t value) { return add_value(key, GgufType::kU8, value); }
    GgufBuilder& add_u32(std::string_view key, std::uint32_t value) { return add_value(key, GgufType::kU32, value); }
    GgufBuilder& add_i32(std::string_view key, std::int32_t value) { return add_value(key, GgufType::kI32, value); }
    GgufBuilder& add_u64(std::string_view key, std::uint64_t value) { return add_value(key, GgufType::kU64, value); }
    GgufBuilder& add_i64(std::string_view key, std::int64_t value) { return add_value(key, GgufType::kI64, value); }
    GgufBuilder& add_f32(std::string_view key, float value) { return add_value(key, GgufType::kF32, value); }
    GgufBuilder& add_f64(std::string_view key, double value) { return add_value(key, GgufType::kF64, value); }
    GgufBuilder& add_bool(std::string_view key, bool value) {
        return add_value(key, GgufType::kBool, std::uint8_t{value});
    }
    GgufBuilder& add_string(std::string_view key, std::string_view value) {
        return add_raw(key, static_cast<std::uint32_t>(GgufType::kString), ByteWriter().put_string(value).bytes());
    }

    GgufBuilder& add_string_array(std::string_view key, std::span<const std::string> values) {
        ByteWriter payload;
        for (const std::string& value : values) payload.put_string(value);
        return add_raw_array(key, {GgufType::kString, values.size()}, payload.bytes());
    }
    GgufBuilder& add_i32_array(std::string_view key, std::span<const std::int32_t> values) {
        return add_raw_array(key, {GgufType::kI32, values.size()}, std::as_bytes(values));
    }
    GgufBuilder& add_u32_array(std::string_view key, std::span<const std::uint32_t> values) {
        return add_raw_array(key, {GgufType::kU32, values.size()}, std::as_bytes(values));
    }
    GgufBuilder& add_f32_array(std::string_view key, std::span<const float> values) {
        return add_raw_array(key, {GgufType::kF32, values.size()}, std::as_bytes(values));
    }

    /// An entry with any type id and any bytes for its value.
    GgufBuilder& add_raw(std::string_view key, std::uint32_t type_id, std::span<const std::byte> payload) {
        return add_raw_entry(ByteWriter().put_string(key).put(type_id).put_bytes(payload).bytes());
    }
    struct ArrayHeader {
        GgufType element_type;
        std::uint64_t count;
    };
    GgufBuilder& add_raw_array(std::string_view key, ArrayHeader header, std::span<const std::byte> elements) {
        ByteWriter payload;
        payload.put(header.element_type).put(header.count).put_bytes(elements);
        return add_raw(key, static_cast<std::uint32_t>(GgufType::kArray), payload.bytes());
    }
    /// Bytes in place of a whole entry, key and type included; counts as one entry.
    GgufBuilder& add_raw_entry(std::span<const std::byte> bytes) {
        entries_.put_bytes(bytes);
        ++entry_count_;
        return *this;
    }

    GgufBuilder& add_tensor(std::string_view name, DType type, std::vector<std::uint64_t> dims,
                            std::span<const std::byte> data) {
        TensorSpec spec;
        spec.name = name;
        spec.type = static_cast<std::uint32_t>(type);
        spec.dims = std::move(dims);
        spec.data.assign(data.begin(), data.end());
        return add_tensor(std::move(spec));
    }
    GgufBuilder& add_tensor(TensorSpec spec) {
        tensors_.push_back(std::move(spec));
        return *this;
    }
    /// Bytes appended after everything else.
    GgufBuilder& append_raw(std::span<const std::byte> bytes) {
        tail_.put_bytes(bytes);
        return *this;
    }

    // Header fields in place of the true ones.
    GgufBuilder& set_magic(std::string_view magic) { return magic_ = magic, *this; }
    GgufBuilder& set_version(std::uint32_t version) { return version_ = version, *this; }
    GgufBuilder& set_n_tensors(std::uint64_t count) { return n_tensors_ = count, *this; }
    GgufBuilder& set_n_kv(std::uint64_t count) { return n_kv_ = count, *this; }
    /// The builder pads to it. Writes no key: add "general.alignment" as well, or leave it out to break the file.
    GgufBuilder& set_alignment(std::uint64_t alignment) { return alignment_ = alignment, *this; }

    std::vector<std::byte> build() const {
        ByteWriter data;
        std::vector<std::uint64_t> offsets;
        for (const TensorSpec& tensor : tensors_) {
            data.pad_to(alignment_);
            offsets.push_back(tensor.offset.value_or(data.size()));
            data.put_bytes(tensor.data);
        }
        ByteWriter file;
        file.put_bytes(std::as_bytes(std::span(magic_))).put(version_);
        file.put(n_tensors_.value_or(tensors_.size())).put(n_kv_.value_or(entry_count_));
        file.put_bytes(entries_.bytes());
        for (std::size_t i = 0; i < tensors_.size(); ++i) {
            const TensorSpec& tensor = tensors_[i];
            file.put_string(tensor.name);
            file.put(tensor.n_dims.value_or(static_cast<std::uint32_t>(tensor.dims.size())));
            for (const std::uint64_t dim : tensor.dims) file.put(dim);
            file.put(tensor.type).put(offsets[i]);
        }
        if (!tensors_.empty()) file.pad_to(alignment_);
        file.put_bytes(data.bytes()).put_bytes(tail_.bytes());
        return file.bytes();
    }

private:
    template <typename T>
    GgufBuilder& add_value(std::string_view key, GgufType type, T value) {
        return add_raw(key, static_cast<std::uint32_t>(type), ByteWriter().put(value).bytes());
    }

    std::string magic_ = "GGUF";
    std::uint32_t version_ = 3;
    std::optional<std::uint64_t> n_tensors_;
    std::optional<std::uint64_t> n_kv_;
    std::uint64_t alignment_ = 32;
    std::uint64_t entry_count_ = 0;
    ByteWriter entries_;
    std::vector<TensorSpec> tensors_;
    ByteWriter tail_;
};

}  // namespace lfm::test
