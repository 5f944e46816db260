// Look-ups and typed getters on a parsed GGUF file.
#include "memory/gguf.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "memory/error.h"

namespace lfm {
namespace {

template <typename T>
T load(const std::byte* from) {
    T value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

[[noreturn]] void fail(const GgufFile& file, std::string_view key, std::string_view expected,
                       const std::string& found) {
    throw Error(ErrorCode::kInvalidModel, file.name() + ": " + std::string(key),
                "expected " + std::string(expected) + ", found " + found);
}

/// An integer of any width; nothing for other types and for u64 beyond i64.
std::optional<std::int64_t> integer_at(GgufType type, const std::byte* at) {
    switch (type) {
        case GgufType::kU8: return load<std::uint8_t>(at);
        case GgufType::kI8: return load<std::int8_t>(at);
        case GgufType::kU16: return load<std::uint16_t>(at);
        case GgufType::kI16: return load<std::int16_t>(at);
        case GgufType::kU32: return load<std::uint32_t>(at);
        case GgufType::kI32: return load<std::int32_t>(at);
        case GgufType::kI64: return load<std::int64_t>(at);
        case GgufType::kU64: {
            const auto value = load<std::uint64_t>(at);
            if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return std::nullopt;
            return static_cast<std::int64_t>(value);
        }
        default: return std::nullopt;
    }
}

/// Bytes from one element of an integer or float array to the next.
std::size_t element_stride(const GgufEntry& entry) { return entry.count == 0 ? 0 : entry.payload.size() / entry.count; }

}  // namespace

void GgufFile::require_unchanged() const {
    if (!mapping_) return;
    if (const auto change = mapping_->change()) throw Error(ErrorCode::kInvalidModel, name_, change->message());
}

const GgufEntry* GgufFile::find(std::string_view key) const {
    const auto place = entry_index_.find(key);
    return place ? &entries_[*place] : nullptr;
}

const GgufTensor* GgufFile::find_tensor(std::string_view tensor_name) const {
    const auto place = tensor_index_.find(tensor_name);
    return place ? &tensors_[*place] : nullptr;
}

const GgufEntry& GgufFile::get(std::string_view key) const {
    const GgufEntry* entry = find(key);
    if (entry == nullptr) fail(*this, key, "this key", "nothing");
    return *entry;
}

std::optional<std::uint32_t> GgufFile::find_u32(std::string_view key) const {
    const GgufEntry* entry = find(key);
    if (entry == nullptr) return std::nullopt;
    const auto value = integer_at(entry->type, entry->payload.data());
    if (!value) fail(*this, key, "an integer below 2^63", "another type or a larger one");
    if (*value < 0 || *value > std::numeric_limits<std::uint32_t>::max())
        fail(*this, key, "an integer of 0 to 2^32-1", std::to_string(*value));
    return static_cast<std::uint32_t>(*value);
}

std::uint32_t GgufFile::get_u32(std::string_view key) const { return get(key), *find_u32(key); }

std::optional<float> GgufFile::find_f32(std::string_view key) const {
    const GgufEntry* entry = find(key);
    if (entry == nullptr) return std::nullopt;
    if (entry->type == GgufType::kF32) return load<float>(entry->payload.data());
    if (entry->type == GgufType::kF64) return static_cast<float>(load<double>(entry->payload.data()));
    fail(*this, key, "a float", "another type");
}

float GgufFile::get_f32(std::string_view key) const { return get(key), *find_f32(key); }

std::optional<double> GgufFile::find_number(std::string_view key) const {
    const GgufEntry* entry = find(key);
    if (entry == nullptr || entry->type == GgufType::kString || entry->type == GgufType::kArray) return std::nullopt;
    if (entry->type == GgufType::kBool) return *find_bool(key) ? 1 : 0;
    if (entry->type == GgufType::kF32) return load<float>(entry->payload.data());
    if (entry->type == GgufType::kF64) return load<double>(entry->payload.data());
    if (const auto integer = integer_at(entry->type, entry->payload.data())) return static_cast<double>(*integer);
    return static_cast<double>(load<std::uint64_t>(entry->payload.data()));
}

std::optional<bool> GgufFile::find_bool(std::string_view key) const {
    const GgufEntry* entry = find(key);
    if (entry == nullptr) return std::nullopt;
    if (entry->type != GgufType::kBool) fail(*this, key, "a bool", "another type");
    return entry->payload[0] != std::byte{0};
}

std::optional<std::string_view> GgufFile::find_string(std::string_view key) const {
    const GgufEntry* entry = find(key);
    if (entry == nullptr) return std::nullopt;
    if (entry->type != GgufType::kString) fail(*this, key, "a string", "another type");
    return std::string_view(reinterpret_cast<const char*>(entry->payload.data()), entry->payload.size());
}

std::string_view GgufFile::get_string(std::string_view key) const { return get(key), *find_string(key); }

std::optional<std::vector<std::int64_t>> GgufFile::find_integers(std::string_view key) const {
    const GgufEntry* entry = find(key);
    if (entry == nullptr) return std::nullopt;
    if (entry->type != GgufType::kArray) fail(*this, key, "an array of integers", "a single value");
    std::vector<std::int64_t> values;
    values.reserve(entry->count);
    for (std::uint64_t i = 0; i < entry->count; ++i) {
        const auto value = integer_at(entry->element_type, entry->payload.data() + i * element_stride(*entry));
        if (!value) fail(*this, key, "an array of integers", "another element type or a value beyond 2^63");
        values.push_back(*value);
    }
    return values;
}

std::optional<std::vector<float>> GgufFile::find_floats(std::string_view key) const {
    const GgufEntry* entry = find(key);
    if (entry == nullptr) return std::nullopt;
    if (entry->type != GgufType::kArray || entry->element_type != GgufType::kF32)
        fail(*this, key, "an array of f32", "another type");
    std::vector<float> values(entry->count);
    if (!values.empty()) std::memcpy(values.data(), entry->payload.data(), entry->payload.size());
    return values;
}

std::optional<std::vector<std::string_view>> GgufFile::find_strings(std::string_view key) const {
    const GgufEntry* entry = find(key);
    if (entry == nullptr) return std::nullopt;
    if (entry->type != GgufType::kArray || entry->element_type != GgufType::kString)
        fail(*this, key, "an array of strings", "another type");
    std::vector<std::string_view> values;
    values.reserve(entry->count);
    std::span<const std::byte> rest = entry->payload;
    for (std::uint64_t i = 0; i < entry->count; ++i) {
        // Lengths were checked when the file was parsed; but the file may have been written to since.
        const auto size = rest.size() < 8 ? std::uint64_t{0} : load<std::uint64_t>(rest.data());
        if (rest.size() < 8 || size > rest.size() - 8)
            fail(*this, key, "strings within the array", "others than before");
        values.emplace_back(reinterpret_cast<const char*>(rest.data() + 8), size);
        rest = rest.subspan(8 + size);
    }
    return values;
}

}  // namespace lfm
