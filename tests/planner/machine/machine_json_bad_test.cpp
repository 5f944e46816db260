// Broken profiles: each is refused with the path of what is wrong.
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <random>

#include <nlohmann/json.hpp>

#include "memory/error.h"
#include "tests/allocation_counter.h"
#include "tests/planner/sample_machine.h"

namespace lfm::test {
namespace {

using Json = nlohmann::ordered_json;

struct BadProfile {
    std::string name;
    std::shared_ptr<const std::string> text;  // shared: parameters are copied, in every process of the suite
    std::string fragment;                     // of the message: "path: expected"
};

void PrintTo(const BadProfile& profile, std::ostream* out) { *out << profile.name; }

/// The message, or "" when the text is accepted.
std::string refusal(const std::string& text) {
    try {
        parse_machine_part(text, "bad.json");
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kInvalidInput) << error.what();
        EXPECT_TRUE(std::string(error.what()).starts_with("bad.json: ")) << error.what();
        EXPECT_LT(std::string(error.what()).size(), 400u);
        return error.what();
    }
    return "";
}

/// Cases made from a sound profile by changing one value.
class Edits {
public:
    Edits& set(const std::string& pointer, const Json& value, const std::string& fragment) {
        Json json = sound();
        json[Json::json_pointer(pointer)] = value;
        return add(pointer, json.dump(), fragment);
    }
    /// `raw` need not be JSON.
    Edits& raw(const std::string& pointer, const std::string& raw, const std::string& fragment) {
        Json json = sound();
        json[Json::json_pointer(pointer)] = "@";
        std::string text = json.dump();
        text.replace(text.find("\"@\""), 3, raw);
        return add(pointer + "_raw", text, fragment);
    }
    Edits& drop(const std::string& object, const std::string& key, const std::string& fragment) {
        Json json = sound();
        json[Json::json_pointer(object)].erase(key);
        return add(object + "_without_" + key, json.dump(), fragment);
    }
    Edits& add(std::string name, std::string text, std::string fragment) {
        name += "_" + std::to_string(cases_.size());
        std::ranges::replace_if(
            name, [](unsigned char c) { return !std::isalnum(c); }, '_');
        cases_.push_back({std::move(name), std::make_shared<const std::string>(std::move(text)), std::move(fragment)});
        return *this;
    }
    std::vector<BadProfile> cases() const { return cases_; }

private:
    static Json sound() { return Json::parse(to_json(sample_part())); }
    std::vector<BadProfile> cases_;
};

std::string repeat(const std::string& text, std::size_t n) {
    std::string all;
    for (std::size_t i = 0; i < n; ++i) all += text;
    return all;
}

std::vector<BadProfile> not_json() {
    const std::string sound = to_json(sample_part());
    std::string many_keys = "{";
    for (int i = 0; i < 100'000; ++i) many_keys += "\"k" + std::to_string(i) + "\":1,";
    return Edits()
        .add("empty", "", "bad.json: expected JSON")
        .add("blank", " \n", "bad.json: expected JSON")
        .add("binary",
             std::string("\x7f"
                         "ELF\0\0\1\2",
                         8),
             "bad.json: expected JSON")
        .add("zeros", std::string(4096, '\0'), "bad.json: expected JSON")
        .add("utf16", std::string("\xff\xfe{\0}\0", 6), "bad.json: expected JSON")
        .add("bad_utf8", "{\"name\":\"\xc3\x28\"}", "bad.json: expected JSON in UTF-8, found an error at byte")
        .add("gguf", "GGUF\3\0\0\0", "bad.json: expected JSON")
        .add("nan", "NaN", "bad.json: expected JSON")
        .add("text_after_the_end", sound + "{}", "bad.json: expected JSON")
        .add("comment", "// a\n" + sound, "bad.json: expected JSON")
        .add("number", "7", "bad.json: expected a machine profile, found 7")
        .add("text", "\"a\"", "bad.json: expected a machine profile, found \"a\"")
        .add("null", "null", "bad.json: expected a machine profile, found null")
        .add("array", "[" + sound + "]", "bad.json: expected a machine profile, found an array")
        .add("no_keys", "{}", "bad.json: format: expected one of lfm-machine-profile, found nothing")
        .add("deep_arrays", repeat("[", 33), "bad.json: expected nesting of at most 32 levels, found more")
        .add("very_deep_arrays", repeat("[", 1'000'000), "nesting of at most 32")
        .add("very_deep_objects", repeat("{\"a\":", 500'000), "nesting of at most 32")
        .add("too_long", sound + std::string(4 << 20, ' '), "bad.json: expected at most 4 MiB of JSON, found")
        .add("many_keys", many_keys, "at most 64 keys in an object")
        .add("key_twice", "{\"format\":\"lfm-machine-profile\",\"format\":\"lfm-machine-profile\"}",
             "bad.json: format: expected one such key, found two")
        .add("devices_twice", "{\"devices\":[],\"name\":\"a\",\"devices\":[]}",
             "bad.json: devices: expected one such key")
        .add("inner_key_twice", "{\"devices\":[{\"copy_us\":{\"n\":1,\"n\":2}}]}",
             "bad.json: devices[].copy_us.n: expected one such key")
        .cases();
}

std::vector<BadProfile> bad_frame() {
    return Edits()
        .set("/format", "other", "format: expected one of lfm-machine-profile, found \"other\"")
        .set("/format", 1, "format: expected")
        .set("/version", 2, "version: expected version 1, the one this program reads, found 2")
        .set("/version", 0, "version: expected")
        .set("/version", -1, "version: expected")
        .set("/version", "1", "version: expected a whole number from 1 to 4294967295, found \"1\"")
        .set("/version", 1.0, "version: expected")
        .set("/version", 4294967297, "version: expected")
        .drop("", "version", "version: expected a whole number")
        .drop("", "name", "name: expected a text, found nothing")
        .set("/name", "", "name: expected a text that is not empty")
        .set("/name", 3, "name: expected a text, found 3")
        .set("/name", "a\x1b[31m", "name: expected a text without control characters, found \"a?[31m\"")
        .set("/name", std::string(1025, 'a'), "name: expected a text of at most 1024 bytes, found 1025")
        .set("/measured_at", "yesterday",
             "measured_at: expected a time such as 2026-11-22T14:15:00Z, found \"yesterday\"")
        .set("/measured_at", "", "measured_at: expected")
        .set("/measured_at", "2026-11-22 14:15:00Z", "measured_at: expected")
        .set("/speed", 1, "bad.json: speed: expected a key of profiles/machine.schema.json, found another")
        .set("/" + std::string(300, 'x'), 1, "xxx...: expected a key of profiles/machine.schema.json")
        .set("/host", nullptr, "host: expected a host, found null")
        .set("/host", Json::array(), "host: expected a host, found an array")
        .set("/devices", Json::object(), "devices: expected 1 to 64 devices, found an object")
        .set("/devices", Json::array(), "devices: expected 1 to 64 devices, found 0 entries")
        .set("/devices", Json(std::vector<int>(65)), "devices: expected 1 to 64 devices, found 65 entries")
        .set("/devices/0", 1, "devices[0]: expected a device, found 1")
        .add("no_parts", "{\"format\":\"lfm-machine-profile\",\"version\":1,\"name\":\"a\"}",
             "bad.json: expected a host, devices or both, found neither")
        .cases();
}

std::vector<BadProfile> bad_parts() {
    return Edits()
        .set("/host/n_cores", 0, "host.n_cores: expected a whole number from 1 to 65536, found 0")
        .set("/host/n_cores", -8, "host.n_cores: expected")
        .set("/host/n_cores", 8.5, "host.n_cores: expected a whole number from 1 to 65536, found 8.5")
        .set("/host/n_cores", 65537, "host.n_cores: expected")
        .set("/host/n_threads", true, "host.n_threads: expected a whole number from 1 to 65536, found true")
        .raw("/host/n_threads", "18446744073709551617", "host.n_threads: expected")
        .set("/host/memory_bytes", 0, "host.memory_bytes: expected")
        .set("/host/memory_bytes", 1ull << 51, "host.memory_bytes: expected")
        .set("/host/memory_bytes", "64 GiB", "host.memory_bytes: expected a whole number from 1 to 1125899906842624")
        .set("/host/pinnable_bytes", 68719476737, "host.pinnable_bytes: expected a whole number from 0 to 68719476736")
        .set("/host/memory_gb", 64, "host.memory_gb: expected a key of")
        .set("/host/instruction_set", "mmx",
             "host.instruction_set: expected one of portable, avx2, avx512, neon, found \"mmx\"")
        .set("/host/read_bandwidth", Json::array(), "host.read_bandwidth: expected 1 to 1024 bandwidths")
        .set("/host/read_bandwidth", 5, "host.read_bandwidth: expected")
        .set("/host/read_bandwidth/1", 5, "host.read_bandwidth[1]: expected n_threads and gb_per_s, found 5")
        .set("/host/read_bandwidth/2/n_threads", 4, "host.read_bandwidth[2].n_threads: expected a whole number from 5")
        .set("/host/read_bandwidth/0/n_threads", 0, "host.read_bandwidth[0].n_threads: expected")
        .set("/host/read_bandwidth/0/us", 0, "host.read_bandwidth[0].us: expected a key of")
        .drop("/host/read_bandwidth/0", "gb_per_s", "host.read_bandwidth[0].gb_per_s: expected a figure")
        .set("/host/matvec_gb_per_s", 35, "host.matvec_gb_per_s: expected figures by weight type, found 35")
        .set("/host/matvec_gb_per_s", Json::object(),
             "host.matvec_gb_per_s: expected figures by weight type, found none")
        .set("/host/matvec_gb_per_s/q4_0", 1, "host.matvec_gb_per_s.q4_0: expected the name of a weight type")
        .set("/host/matvec_gb_per_s/Q9_Z", 1, "host.matvec_gb_per_s.Q9_Z: expected the name of a weight type")
        .set("/host/matvec_gb_per_s/others", 1, "host.matvec_gb_per_s.others: expected a figure")
        .set("/devices/0/backend", "metal",
             "devices[0].backend: expected one of cuda, hip, vulkan, sim, emulated, found \"metal\"")
        .set("/devices/0/memory_kind", "shared", "devices[0].memory_kind: expected one of own, shared_with_host")
        .drop("/devices/0", "memory_kind",
              "devices[0].memory_kind: expected one of own, shared_with_host, found nothing")
        .set("/devices/0/free_bytes", 12884901889,
             "devices[0].free_bytes: expected a whole number from 0 to 12884901888")
        .set("/devices/0/context_bytes", -1, "devices[0].context_bytes: expected")
        .set("/devices/0/copy_ms", 1, "devices[0].copy_ms: expected a key of")
        .drop("/devices/0", "handshake_us", "devices[0].handshake_us: expected a figure")
        .cases();
}

std::vector<BadProfile> bad_figures() {
    const std::string at = "devices[0].copy_us";
    const Json measured{{"median", 5}, {"n", 7}, {"spread", 0.1}};
    const Json stated{{"stated", 5}, {"derating", 0.8}, {"source", "s"}};
    const Json assumed{{"assumed", 5}, {"reason", "r"}};
    const auto with = [](Json figure, const char* key, const Json& value) { return figure[key] = value, figure; };
    const auto without = [](Json figure, const char* key) { return figure.erase(key), figure; };
    Edits edits;
    const auto figure = [&](const Json& value, const std::string& fragment) {
        edits.set("/devices/0/copy_us", value, at + fragment);
    };
    figure(9.75, ": expected a figure");
    figure("9.75 us", ": expected a figure");
    figure(nullptr, ": expected a figure");
    figure(Json::array({measured}), ": expected a figure");
    figure(Json::object(),
           ": expected a figure: {median, n, spread}, {stated, derating, source} or {assumed, reason}, found none");
    figure(with(measured, "stated", 5),
           ": expected a figure: {median, n, spread}, {stated, derating, source} or {assumed, reason}, found several");
    figure(with(measured, "unit", "us"), ".unit: expected a key of");
    figure(with(measured, "source", "s"), ".source: expected a key of");
    figure(with(stated, "n", 1), ".n: expected a key of");
    figure(with(assumed, "derating", 1), ".derating: expected a key of");
    for (const char* key : {"n", "spread"}) figure(without(measured, key), "." + std::string(key) + ": expected a");
    for (const char* key : {"derating", "source"})
        figure(without(stated, key), "." + std::string(key) + ": expected a");
    figure(without(assumed, "reason"), ".reason: expected a text, found nothing");
    figure(with(assumed, "reason", ""), ".reason: expected a text that is not empty");
    figure(with(stated, "source", ""), ".source: expected a text that is not empty");
    for (const Json& value : {Json(0), Json(-1), Json(1e-7), Json(1e10), Json(1e308), Json("5"), Json(true), Json()}) {
        figure(with(measured, "median", value), ".median: expected a number from 1e-06 to 1000000000, found");
        figure(with(stated, "stated", value), ".stated: expected a number from");
        figure(with(assumed, "assumed", value), ".assumed: expected a number from");
    }
    for (const Json& value : {Json(0), Json(-0.5), Json(1.01), Json("all"), Json(1e300)})
        figure(with(stated, "derating", value), ".derating: expected a number from 1e-06 to 1, found");
    for (const Json& value : {Json(0), Json(-1), Json(2.5), Json(4294967296), Json("7")})
        figure(with(measured, "n", value), ".n: expected a whole number from 1 to 1073741824, found");
    for (const Json& value : {Json(-0.1), Json(1001), Json("4 %")})
        figure(with(measured, "spread", value), ".spread: expected a number from 0 to 1000, found");
    for (const char* number : {"NaN", "nan", "Infinity", "-inf", "+5", ".5", "5.", "0x10", "1,5", "05"})
        edits.raw("/devices/0/copy_us/median", number, "bad.json: expected JSON");
    for (const char* number : {"1e999", "-1e999"})
        edits.raw("/devices/0/copy_us/median", number, "bad.json: expected JSON, found a number that is too large");
    return edits.cases();
}

struct CaseName {
    std::string operator()(const testing::TestParamInfo<BadProfile>& info) const {
        return info.param.name.substr(0, 60) + "_" + std::to_string(info.index);
    }
};

class BadMachineJson : public testing::TestWithParam<BadProfile> {};
INSTANTIATE_TEST_SUITE_P(NotJson, BadMachineJson, testing::ValuesIn(not_json()), CaseName());
INSTANTIATE_TEST_SUITE_P(Frame, BadMachineJson, testing::ValuesIn(bad_frame()), CaseName());
INSTANTIATE_TEST_SUITE_P(Parts, BadMachineJson, testing::ValuesIn(bad_parts()), CaseName());
INSTANTIATE_TEST_SUITE_P(Figures, BadMachineJson, testing::ValuesIn(bad_figures()), CaseName());

TEST_P(BadMachineJson, IsRefusedByItsPath) {
    const AllocationCounter allocations;
    const std::string message = refusal(*GetParam().text);
    EXPECT_NE(message.find(GetParam().fragment), std::string::npos)
        << "expected \"" << GetParam().fragment << "\" in \"" << message << '"';
    EXPECT_LE(allocations.peak_bytes(), 2 * GetParam().text->size() + (16 << 20));
}

TEST(MachineJson, TruncatedAtEveryByteIsRefused) {
    const std::string sound = Json::parse(to_json(sample_part())).dump();
    ASSERT_EQ(refusal(sound), "");
    for (std::size_t size = 0; size < sound.size(); ++size)
        ASSERT_NE(refusal(sound.substr(0, size)), "") << size << " bytes were accepted";
}

TEST(MachineJson, AnyDamagedByteGivesAProfileOrATypedError) {
    const std::string sound = Json::parse(to_json(sample_part())).dump();
    std::mt19937 random(3);
    int n_refused = 0;
    for (int i = 0; i < 5000; ++i) {
        std::string damaged = sound;
        damaged[random() % damaged.size()] = static_cast<char>(random());
        if (!refusal(damaged).empty()) ++n_refused;
    }
    EXPECT_GT(n_refused, 2000);
}

}  // namespace
}  // namespace lfm::test
