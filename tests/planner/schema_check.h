// The part of JSON Schema that our schemas use, and which of their keys were met.
#pragma once

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace lfm::test {

class SchemaCheck {
public:
    using Json = nlohmann::json;

    /// `file`: in profiles/.
    explicit SchemaCheck(const std::string& file) {
        std::stringstream text;
        text << std::ifstream(LFM_SOURCE_DIR "/profiles/" + file, std::ios::binary).rdbuf();
        root_ = Json::parse(text.str());
    }

    /// The rules of the schema that `value` breaks: "placement.layers[0].home: enum".
    std::vector<std::string> errors(const Json& value) {
        errors_.clear();
        check(value, root_, "");
        return errors_;
    }

    /// Keys of the schema that no checked value had, as "#/$defs/layer/reason".
    std::vector<std::string> keys_not_met() const {
        std::vector<std::string> missing;
        collect(root_, "#", missing);
        return missing;
    }

private:
    void check(const Json& value, const Json& schema, const std::string& at) {
        for (const auto& [keyword, rule] : schema.items()) {
            if (!holds(value, keyword, rule, at)) errors_.push_back(at + ": " + keyword);
        }
        if (value.is_object() && schema.contains("properties")) check_members(value, schema, at);
        if (value.is_array() && schema.contains("items"))
            for (std::size_t i = 0; i < value.size(); ++i)
                check(value[i], schema["items"], at + "[" + std::to_string(i) + "]");
    }

    void check_members(const Json& value, const Json& schema, const std::string& at) {
        for (const auto& [key, member] : value.items()) {
            const std::string path = at + (at.empty() ? "" : ".") + key;
            const auto known = schema["properties"].find(key);
            if (known == schema["properties"].end()) {
                errors_.push_back(path + ": additionalProperties");
                continue;
            }
            met_.insert(&*known);
            check(member, *known, path);
        }
    }

    bool holds(const Json& value, const std::string& keyword, const Json& rule, const std::string& at) {
        static const std::set<std::string> kElsewhere{"$schema", "title",      "description",
                                                      "$defs",   "properties", "items"};
        if (kElsewhere.contains(keyword)) return true;
        if (keyword == "pattern") return !value.is_string() || matches(value, rule);
        if (keyword == "$ref") return check(value, root_.at(pointer(rule)), at), true;
        if (keyword == "oneOf") return one_of(value, rule, at);
        if (keyword == "const") return value == rule;
        if (keyword == "enum") return std::ranges::find(rule, value) != rule.end();
        if (keyword == "type") return of_type(value, rule);
        if (keyword == "minimum") return !value.is_number() || value >= rule;
        if (keyword == "maximum") return !value.is_number() || value <= rule;
        if (keyword == "minLength") return !value.is_string() || value.get<std::string>().size() >= rule;
        if (keyword == "maxLength") return !value.is_string() || value.get<std::string>().size() <= rule;
        if (keyword == "minItems") return !value.is_array() || value.size() >= rule;
        if (keyword == "maxItems") return !value.is_array() || value.size() <= rule;
        if (keyword == "maxProperties") return !value.is_object() || value.size() <= rule;
        if (keyword == "uniqueItems") return !value.is_array() || unique(value);
        if (keyword == "required") return !value.is_object() || has_all(value, rule);
        if (keyword == "propertyNames") {
            for (const auto& [key, member] : value.items()) check(key, rule, at + "." + key);
            return true;
        }
        if (keyword == "additionalProperties") {
            if (rule.is_object())
                for (const auto& [key, member] : value.items()) check(member, rule, at + "." + key);
            return rule.is_object() || rule == false;
        }
        return false;  // a keyword that this check does not know proves nothing
    }

    bool one_of(const Json& value, const Json& alternatives, const std::string& at) {
        int n_fitting = 0;
        for (const Json& alternative : alternatives) {
            const auto before = errors_;
            check(value, alternative, at);
            n_fitting += errors_.size() == before.size();
            errors_ = before;
        }
        return n_fitting == 1;
    }

    static bool of_type(const Json& value, const std::string& type) {
        if (type == "object") return value.is_object();
        if (type == "array") return value.is_array();
        if (type == "string") return value.is_string();
        if (type == "integer") return value.is_number_integer();
        if (type == "number") return value.is_number();
        return type == "null" && value.is_null();
    }

    /// The one pattern in use.
    static bool matches(const std::string& text, const std::string& pattern) {
        return pattern == "^[^\\u0000-\\u001f\\u007f]*$" &&
               std::ranges::none_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; });
    }

    static bool unique(const Json& array) { return std::set<Json>(array.begin(), array.end()).size() == array.size(); }

    static bool has_all(const Json& object, const Json& keys) {
        return std::ranges::all_of(keys, [&](const Json& key) { return object.contains(key.get<std::string>()); });
    }

    static Json::json_pointer pointer(const Json& ref) { return Json::json_pointer(ref.get<std::string>().substr(1)); }

    void collect(const Json& schema, const std::string& at, std::vector<std::string>& missing) const {
        if (!schema.is_structured()) return;
        if (schema.is_object() && schema.contains("properties"))
            for (const auto& [key, member] : schema["properties"].items())
                if (!met_.contains(&member)) missing.push_back(at + "/" + key);
        for (const auto& [key, member] : schema.items()) collect(member, at + "/" + key, missing);
    }

    Json root_;
    std::set<const Json*> met_;
    std::vector<std::string> errors_;
};

}  // namespace lfm::test
