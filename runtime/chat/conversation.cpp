#include "runtime/chat/conversation.h"

#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "memory/error.h"

namespace lfm {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMaxBytes = std::size_t{16} << 20;
constexpr int kMaxDepth = 64;
constexpr int kMaxKeys = 1024;  // ordered objects search their keys one by one

[[noreturn]] void fail(std::string_view where, const std::string& message) {
    throw Error{ErrorCode::kInvalidInput, where, message};
}

void read(const Json& object, const char* key, bool& value) {
    const auto found = object.find(key);
    if (found == object.end() || found->is_null()) return;
    if (!found->is_boolean()) fail(key, std::string("expected true or false, found ") + found->type_name());
    value = found->get<bool>();
}

void read(const Json& object, const char* key, std::string& value) {
    const auto found = object.find(key);
    if (found == object.end() || found->is_null()) return;
    if (!found->is_string()) fail(key, std::string("expected a string, found ") + found->type_name());
    value = found->get<std::string>();
}

/// Moves an array out of `object`; an empty one when it is absent or null.
Json take_array(Json& object, const char* key) {
    const auto found = object.find(key);
    if (found == object.end() || found->is_null()) return Json::array();
    if (!found->is_array()) fail(key, std::string("expected an array, found ") + found->type_name());
    return std::move(*found);
}

void check_messages(const Json& messages) {
    if (messages.empty()) fail("messages", "expected at least one message, found none");
    for (std::size_t i = 0; i < messages.size(); ++i) {
        const std::string where = "messages[" + std::to_string(i) + "]";
        if (!messages[i].is_object()) fail(where, std::string("expected an object, found ") + messages[i].type_name());
        const auto role = messages[i].find("role");
        if (role == messages[i].end()) fail(where + ".role", "expected a string, found nothing");
        if (!role->is_string()) fail(where + ".role", std::string("expected a string, found ") + role->type_name());
    }
}

}  // namespace

Conversation::Conversation()
    : messages_(std::make_unique<Json>(Json::array())), tools_(std::make_unique<Json>(Json::array())) {}
Conversation::~Conversation() = default;
Conversation::Conversation(Conversation&&) noexcept = default;
Conversation& Conversation::operator=(Conversation&&) noexcept = default;

void Conversation::add(std::string_view role, std::string_view content) {
    Json message = Json::object();
    message["role"] = std::string(role);
    message["content"] = std::string(content);
    messages_->push_back(std::move(message));
}

void Conversation::add(std::string_view role, MarkedText content) {
    add(role, std::string_view(content.str()));
    marked_contents_[messages_->size() - 1] = std::move(content);
}

const MarkedText* Conversation::marked_content(std::size_t index) const {
    const auto found = marked_contents_.find(index);
    return found == marked_contents_.end() ? nullptr : &found->second;
}

Conversation parse_conversation(std::string_view json_text) {
    Json root = parse_bounded_json(json_text, "conversation");
    if (root.is_array()) {
        Json messages = std::move(root);
        root = Json::object();
        root["messages"] = std::move(messages);
    }
    if (!root.is_object()) fail("conversation", std::string("expected an object, found ") + root.type_name());

    Conversation conversation;
    ChatOptions& options = conversation.options;
    read(root, "bos_token", options.bos_token);
    read(root, "add_generation_prompt", options.add_generation_prompt);
    read(root, "keep_past_thinking", options.keep_past_thinking);
    read(root, "preserve_thinking", options.preserve_thinking);
    *conversation.messages_ = take_array(root, "messages");
    *conversation.tools_ = take_array(root, "tools");
    check_messages(*conversation.messages_);
    return conversation;
}

Json parse_bounded_json(std::string_view text, std::string_view where) {
    if (text.size() > kMaxBytes)
        fail(where, "expected at most 16 MiB of JSON, found " + std::to_string(text.size()) + " bytes");
    std::vector<int> n_keys(kMaxDepth + 2);  // of the open object at each depth
    // The parser itself keeps its own stack; it is printing that recurses. Throwing here ends the parse at once.
    const auto check = [&](int depth, Json::parse_event_t event, Json&) {
        const bool opens = event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start;
        if (opens && depth >= kMaxDepth) fail(where, "expected nesting of at most 64 levels, found more");
        if (event == Json::parse_event_t::object_start) n_keys[static_cast<std::size_t>(depth) + 1] = 0;
        if (event == Json::parse_event_t::key && ++n_keys[static_cast<std::size_t>(depth)] > kMaxKeys)
            fail(where, "expected at most 1024 keys in an object, found more");
        return true;
    };
    try {
        return Json::parse(text, check);
    } catch (const Json::parse_error& error) {
        fail(where, "expected JSON in UTF-8, found an error at byte " + std::to_string(error.byte));
    } catch (const Json::exception&) {  // a number that no double holds
        fail(where, "expected JSON, found a number out of range");
    }
}

}  // namespace lfm
