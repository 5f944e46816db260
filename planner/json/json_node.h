// Values of a JSON file with the path that leads to them, so that whatever is wrong is named.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace lfm {

/// Throws Error{kInvalidInput} for more than 4 MiB, 32 levels, and a key that an object has twice. `source` begins
/// every message.
nlohmann::ordered_json parse_profile_json(std::string_view text, std::string_view source);

class JsonNode {
public:
    JsonNode(const nlohmann::ordered_json& root, std::string_view source) : json_(&root), source_(source) {}

    bool exists() const { return json_ != nullptr; }
    const nlohmann::ordered_json& json() const { return *json_; }

    /// A node that does not exist when there is no such key; reading it fails with its path.
    JsonNode operator[](std::string_view key) const;
    JsonNode operator[](std::size_t index) const;

    /// Each throws Error{kInvalidInput} when the value is missing, of another type, or out of range.
    void require_object(std::string_view expected) const;
    void require_known_keys(std::span<const std::string_view> keys) const;
    void require_known_keys(std::initializer_list<std::string_view> keys) const {
        require_known_keys(std::span(keys.begin(), keys.size()));
    }
    void require_array(std::string_view expected, std::size_t least, std::size_t most) const;
    double number(double least, double most) const;
    std::uint64_t whole(std::uint64_t least, std::uint64_t most) const;
    /// 1 to 1024 bytes without control characters: names end up on terminals.
    std::string text() const;
    std::string one_of(std::initializer_list<std::string_view> choices) const;

    [[noreturn]] void fail(std::string_view expected) const;
    [[noreturn]] void fail(std::string_view expected, std::string_view found) const;

private:
    JsonNode(const nlohmann::ordered_json* json, std::string_view source, std::string path)
        : json_(json), source_(source), path_(std::move(path)) {}

    const nlohmann::ordered_json* json_;
    std::string_view source_;
    std::string path_;
};

}  // namespace lfm
