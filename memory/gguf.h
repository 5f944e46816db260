// GGUF model files: header, metadata and tensor directory, read in place from mapped bytes and checked once.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "memory/dtype.h"
#include "memory/mapped_file.h"
#include "memory/name_index.h"

namespace lfm {

/// The values are the value-type ids of the GGUF format.
enum class GgufType : std::uint32_t {
    kU8 = 0,
    kI8 = 1,
    kU16 = 2,
    kI16 = 3,
    kU32 = 4,
    kI32 = 5,
    kF32 = 6,
    kBool = 7,
    kString = 8,
    kArray = 9,
    kU64 = 10,
    kI64 = 11,
    kF64 = 12,
};

/// One metadata entry. Views point into the file's bytes; arrays are decoded when asked for.
struct GgufEntry {
    std::string_view key;
    GgufType type{};
    GgufType element_type{};             // of an array
    std::uint64_t count = 1;             // elements of an array
    std::span<const std::byte> payload;  // the value's bytes, without an array's type and count
};

/// One tensor of the directory. dims[0] is contiguous; unused dims are 1.
struct GgufTensor {
    std::string_view name;
    DType type{};
    std::uint32_t n_dims = 0;
    std::array<std::uint64_t, 4> dims{1, 1, 1, 1};
    std::uint64_t offset = 0;  // bytes from the start of the data section
    std::uint64_t bytes = 0;
};

/// A key or tensor name as it may appear in a message: short, printable.
std::string printable_name(std::string_view name);

/// A parsed file. Look-ups are hashed. Every getter throws Error{kInvalidModel} naming the key when the value is there
/// but has another type or is out of range; `find_*` return nothing when the key is absent, `get_*` throw.
class GgufFile {
public:
    /// Maps and parses. Costs no copy of the data section. Throws as MappedFile::open and as parse.
    static GgufFile open(const std::filesystem::path& path);
    /// Parses bytes that outlive the result. `name` is used in messages. Throws Error{kInvalidModel} for what is not
    /// sound GGUF, Error{kUnsupportedModel} for another version, byte order or tensor type.
    static GgufFile parse(std::span<const std::byte> bytes, std::string name);

    const std::string& name() const { return name_; }
    std::uint64_t file_size() const { return bytes_.size(); }
    std::uint64_t alignment() const { return alignment_; }
    /// Where tensor offsets count from. Empty when there are no tensors.
    std::span<const std::byte> data() const { return data_; }
    /// The mapping behind it; nothing when parsed from bytes.
    const MappedFile* mapping() const { return mapping_ ? &*mapping_ : nullptr; }
    /// Throws Error{kInvalidModel} when the file has changed since it was opened: what was read from it may be wrong.
    void require_unchanged() const;

    std::span<const GgufEntry> entries() const { return entries_; }
    std::span<const GgufTensor> tensors() const { return tensors_; }
    const GgufEntry* find(std::string_view key) const;
    const GgufTensor* find_tensor(std::string_view tensor_name) const;

    /// Any integer type whose value fits.
    std::optional<std::uint32_t> find_u32(std::string_view key) const;
    std::uint32_t get_u32(std::string_view key) const;
    std::optional<float> find_f32(std::string_view key) const;
    float get_f32(std::string_view key) const;
    /// Any integer, float or bool (true is 1); nothing also for strings and arrays.
    std::optional<double> find_number(std::string_view key) const;
    std::optional<bool> find_bool(std::string_view key) const;
    std::optional<std::string_view> find_string(std::string_view key) const;
    std::string_view get_string(std::string_view key) const;
    /// Arrays of any integer type, widened.
    std::optional<std::vector<std::int64_t>> find_integers(std::string_view key) const;
    std::optional<std::vector<float>> find_floats(std::string_view key) const;
    std::optional<std::vector<std::string_view>> find_strings(std::string_view key) const;

private:
    friend class GgufParser;
    GgufFile() = default;
    const GgufEntry& get(std::string_view key) const;

    std::string name_;
    std::optional<MappedFile> mapping_;
    std::span<const std::byte> bytes_;
    std::span<const std::byte> data_;
    std::uint64_t alignment_ = 32;
    std::vector<GgufEntry> entries_;
    std::vector<GgufTensor> tensors_;
    NameIndex entry_index_;   // places in entries_
    NameIndex tensor_index_;  // places in tensors_
};

}  // namespace lfm
