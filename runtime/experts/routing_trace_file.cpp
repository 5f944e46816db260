#include "runtime/experts/routing_trace_file.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "memory/error.h"
#include "memory/fnv1a.h"

namespace lfm {
namespace {

constexpr std::string_view kMagic = "LFMROUTE";
constexpr std::size_t kHead = 8 + 5 * 4 + 8;
constexpr std::size_t kChecksum = 8;

[[noreturn]] void fail(std::string_view source, const std::string& where, const std::string& expected,
                       const std::string& found) {
    throw Error(ErrorCode::kInvalidInput, source, where + ": expected " + expected + ", found " + found);
}

template <typename Number>
void put(std::string& bytes, Number number) {
    for (std::size_t i = 0; i < sizeof number; ++i) bytes.push_back(static_cast<char>(number >> (8 * i)));
}

template <typename Number>
Number get(std::string_view bytes, std::size_t at) {
    std::uint64_t number = 0;
    for (std::size_t i = 0; i < sizeof(Number); ++i)
        number |= std::uint64_t{static_cast<unsigned char>(bytes[at + i])} << (8 * i);
    return static_cast<Number>(number);
}

std::uint64_t checksum(std::string_view bytes) {
    Fnv1a hash;
    hash.add(bytes);
    return hash.value();
}

void require_ids(const RecordedRouting& routing, std::string_view source) {
    std::vector<std::uint16_t> sorted(routing.n_expert_used);
    for (std::size_t first = 0; first < routing.choices.size(); first += routing.n_expert_used) {
        std::copy_n(routing.choices.begin() + static_cast<std::ptrdiff_t>(first), sorted.size(), sorted.begin());
        std::ranges::sort(sorted);
        const auto where = [&] {
            const std::size_t token = first / routing.choices_per_token();
            const std::size_t layer = first % routing.choices_per_token() / routing.n_expert_used;
            return "token " + std::to_string(token) + ", MoE layer " + std::to_string(layer);
        };
        if (sorted.back() >= routing.n_expert)
            fail(source, where(), "experts of 0 to " + std::to_string(routing.n_expert - 1),
                 std::to_string(sorted.back()));
        const auto twice = std::ranges::adjacent_find(sorted);
        if (twice != sorted.end())
            fail(source, where(), "different experts", "expert " + std::to_string(*twice) + " twice");
    }
}

}  // namespace

RecordedRouting make_recorded_routing(const HyperParameters& hyper) {
    const auto unsupported = [](const char* what, const std::string& expected, std::uint64_t found) {
        throw Error(ErrorCode::kUnsupportedModel, what, "expected " + expected + ", found " + std::to_string(found));
    };
    if (hyper.n_expert == 0 || hyper.n_expert_used == 0) unsupported("n_expert", "a model with experts", 0);
    if (hyper.n_layer_dense >= hyper.n_layer) unsupported("n_layer_dense", "layers with experts", hyper.n_layer_dense);
    if (hyper.n_expert > 1u << 16) unsupported("n_expert", "at most 65536", hyper.n_expert);
    if (hyper.n_expert_used > hyper.n_expert) unsupported("n_expert_used", "at most n_expert", hyper.n_expert_used);
    return {hyper.n_layer, hyper.n_layer_dense, hyper.n_expert, hyper.n_expert_used, {}};
}

std::string routing_trace_bytes(const RecordedRouting& routing) {
    const std::uint64_t size = kHead + std::uint64_t{routing.choices.size()} * 2 + kChecksum;
    if (size > kMaxRoutingTraceBytes)
        fail("routing trace", "size", std::to_string(kMaxRoutingTraceBytes) + " bytes at most", std::to_string(size));
    std::string bytes(kMagic);
    bytes.reserve(size);
    for (const std::uint32_t number :
         {kRoutingTraceVersion, routing.n_layer, routing.n_layer_dense, routing.n_expert, routing.n_expert_used})
        put(bytes, number);
    put(bytes, std::uint64_t{routing.n_tokens()});
    for (const std::uint16_t choice : routing.choices) put(bytes, choice);
    put(bytes, checksum(bytes));
    return bytes;
}

RecordedRouting parse_routing_trace(std::string_view bytes, std::string_view source, const HyperParameters& hyper) {
    RecordedRouting routing = make_recorded_routing(hyper);
    if (!bytes.starts_with(kMagic)) fail(source, "beginning", "a routing trace (LFMROUTE)", "another file");
    if (bytes.size() < kHead + kChecksum)
        fail(source, "size", "at least " + std::to_string(kHead + kChecksum) + " bytes", std::to_string(bytes.size()));
    const auto version = get<std::uint32_t>(bytes, 8);
    if (version != kRoutingTraceVersion)
        fail(source, "version", std::to_string(kRoutingTraceVersion) + ", the one this program reads",
             std::to_string(version));
    const struct {
        const char* name;
        std::uint32_t expected;
    } numbers[] = {{"n_layer", routing.n_layer},
                   {"n_layer_dense", routing.n_layer_dense},
                   {"n_expert", routing.n_expert},
                   {"n_expert_used", routing.n_expert_used}};
    std::size_t at = 12;
    for (const auto& [name, expected] : numbers) {
        const auto found = get<std::uint32_t>(bytes, at);
        at += 4;
        if (found != expected)
            fail(source, name, std::to_string(expected) + ", as this model has", std::to_string(found));
    }
    const auto n_tokens = get<std::uint64_t>(bytes, at);
    const std::uint64_t token_bytes = 2 * routing.choices_per_token();
    const std::uint64_t body = bytes.size() - kHead - kChecksum;
    if (n_tokens == 0) fail(source, "n_tokens", "at least 1", "0");
    if (body % token_bytes != 0 || n_tokens != body / token_bytes)
        fail(source, "n_tokens", "as many as the file's size makes, " + std::to_string(body / token_bytes),
             std::to_string(n_tokens));
    if (get<std::uint64_t>(bytes, bytes.size() - kChecksum) != checksum(bytes.substr(0, bytes.size() - kChecksum)))
        fail(source, "checksum", "that of the content", "another: the file is damaged");
    routing.choices.resize(body / 2);
    for (std::size_t i = 0; i < routing.choices.size(); ++i)
        routing.choices[i] = get<std::uint16_t>(bytes, kHead + 2 * i);
    require_ids(routing, source);
    return routing;
}

RecordedRouting read_routing_trace(const std::string& path, const HyperParameters& hyper) {
    std::error_code error;
    const auto status = std::filesystem::status(path, error);
    const auto fail_io = [&](const std::string& expected, const std::string& found) {
        throw Error(ErrorCode::kIo, path, "expected " + expected + ", found " + found);
    };
    if (!std::filesystem::exists(status)) fail_io("a recorded routing", "no such file");
    // Reading a pipe could wait for ever.
    if (!std::filesystem::is_regular_file(status)) fail_io("a regular file", "another kind");
    const std::uint64_t size = std::filesystem::file_size(path, error);
    if (error) fail_io("a readable file", error.message());
    if (size > kMaxRoutingTraceBytes)
        fail(path, "size", std::to_string(kMaxRoutingTraceBytes) + " bytes at most", std::to_string(size));
    std::ifstream file(path, std::ios::binary);
    std::string bytes(size, '\0');
    if (!file.read(bytes.data(), static_cast<std::streamsize>(size))) fail_io("a readable file", std::strerror(errno));
    return parse_routing_trace(bytes, path, hyper);
}

}  // namespace lfm
