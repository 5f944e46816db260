// Profiles to JSON and back, their schema, what identifies a machine, and the shipped profiles.
#include "planner/machine/machine_json.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include <nlohmann/json.hpp>

#include "memory/error.h"
#include "tests/planner/sample_machine.h"

namespace lfm::test {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

std::string read_file(const fs::path& path) {
    std::stringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
}

std::vector<fs::path> shipped_files() {
    std::vector<fs::path> files;
    for (const char* kind : {"gpu", "host", "machine"})
        for (const auto& entry : fs::directory_iterator(fs::path(LFM_SOURCE_DIR) / "profiles" / kind))
            files.push_back(entry.path());
    std::ranges::sort(files);
    return files;
}

MachinePart shipped(const fs::path& path) { return parse_machine_part(read_file(path), path.string()); }

MachinePart round_trip(const MachinePart& part) { return parse_machine_part(to_json(part), "round trip"); }

TEST(MachineJson, GivesTheSameValueBack) {
    EXPECT_EQ(round_trip(sample_part()), sample_part());

    MachinePart sparse = sample_part();
    sparse.measured_at.clear();
    sparse.host->instruction_set.clear();
    sparse.host->pinnable.reset();
    sparse.devices[0].free.reset();
    sparse.devices[0].memory_kind = DeviceMemory::kSharedWithHost;
    sparse.devices[0].context = {};
    EXPECT_EQ(round_trip(sparse), sparse);
    EXPECT_NE(round_trip(sparse), sample_part());

    EXPECT_EQ(round_trip({"host", "", sample_host(), {}}).devices.size(), 0u);
    EXPECT_FALSE(round_trip({"cards", "", std::nullopt, {sample_device(), sample_device()}}).host);
}

TEST(MachineJson, RegisteredCopiesMayBeMissing) {
    MachinePart part = sample_part();
    part.devices[0].h2d_registered_gb_per_s.reset();
    EXPECT_EQ(to_json(part).find("registered"), std::string::npos);
    EXPECT_EQ(parse_machine_part(to_json(part), "profile"), part);
}

TEST(RegisteringPays, WhereItIsNotSlowerThanStaging) {
    DeviceProfile device = sample_device();
    device.h2d_registered_gb_per_s.reset();
    EXPECT_TRUE(registering_pays(device)) << "not measured";
    device.h2d_registered_gb_per_s = measured(device.h2d_pageable_gb_per_s.value());
    EXPECT_TRUE(registering_pays(device));
    device.h2d_registered_gb_per_s = measured(device.h2d_pageable_gb_per_s.value() * 0.99);
    EXPECT_FALSE(registering_pays(device));
}

TEST(MachineJson, EveryWeightTypeAndBackendHasItsName) {
    MachinePart part = sample_part();
    for (const DTypeInfo& info : all_dtypes())
        part.host->matvec_gb_per_s.types[info.type] = measured(static_cast<double>(info.type) + 0.5);
    for (const char* backend : {"cuda", "hip", "vulkan", "sim", "emulated"}) {
        part.devices[0].backend = backend;
        EXPECT_EQ(round_trip(part), part);
    }
    for (const char* instruction_set : {"avx2", "avx512", "portable"}) {
        part.host->instruction_set = instruction_set;
        EXPECT_EQ(round_trip(part), part);
    }
}

TEST(MachineJson, NumbersKeepEveryBit) {
    std::mt19937_64 random(7);
    std::uniform_real_distribution<double> exponent(-5, 8);
    MachinePart part = sample_part();
    for (std::uint32_t i = 0; i < 500; ++i) {
        const Figure figure{std::pow(10, exponent(random)), Measured{i + 1, std::pow(10, exponent(random) - 6)}};
        part.host->read_bandwidth.push_back({17 + i, figure});
    }
    EXPECT_EQ(round_trip(part), part);
}

TEST(MachineJson, TextIsWrittenTheSameWay) {
    const std::string text = to_json(sample_part());
    EXPECT_EQ(to_json(parse_machine_part(text, "text")), text);
    EXPECT_NE(
        text.find("\n  \"measured_at\": \"2026-11-22T14:15:00Z\",\n  \"host\": {\n    \"name\": \"Processor «8»\""),
        std::string::npos);
}

TEST(Figure, WhatPlansUseAndHowFarToTrustIt) {
    EXPECT_DOUBLE_EQ(measured(46.1).value(), 46.1);
    EXPECT_DOUBLE_EQ(stated(288).value(), 216);
    EXPECT_DOUBLE_EQ(assumed(5).value(), 5);
    EXPECT_DOUBLE_EQ(measured(46.1).uncertainty(), 0.05);
    EXPECT_DOUBLE_EQ((Figure{1, Measured{7, 0.3}}.uncertainty()), 0.3);
    EXPECT_DOUBLE_EQ(stated(288).uncertainty(), 0.2);
    EXPECT_DOUBLE_EQ(assumed(5).uncertainty(), 0.4);
    const TypeFigures figures = sample_host().matvec_gb_per_s;
    EXPECT_DOUBLE_EQ(figures.find(DType::kF16)->value(), 40.5);
    EXPECT_DOUBLE_EQ(figures.find(DType::kQ2_K)->value(), 35);
    EXPECT_EQ(sample_device().matvec_gb_per_s.find(DType::kQ2_K), nullptr);
}

TEST(MachineIdentity, TellsPartsApartAndNotFigures) {
    const MachinePart part = sample_part();
    const MachineProfile machine = merge_parts({&part, 1}, nullptr);
    const MachineIdentity identity = identity_of(machine);
    const std::map<std::string, std::string> expected{{"processor", "Processor «8»"},
                                                      {"cores", "8"},
                                                      {"threads", "16"},
                                                      {"memory", "64 GiB"},
                                                      {"device 0 name", "Card \"A\""},
                                                      {"device 0 backend", "cuda"},
                                                      {"device 0 memory", "12 GiB"}};
    EXPECT_EQ(identity.parts, expected);
    MachineProfile other = machine;
    other.host.operation_us = assumed(100);
    other.host.memory.value -= 90 << 20;  // another kernel keeps another amount for itself
    EXPECT_EQ(identity_of(other), identity);
    other.devices.push_back(sample_device());
    EXPECT_NE(identity_of(other), identity);
}

/// What the schema allows at this place; of several alternatives the one that knows all keys of `value`.
const Json* resolve(const Json& schema, const Json& root, const Json& value) {
    if (schema.contains("$ref"))
        return resolve(root.at(Json::json_pointer(schema["$ref"].get<std::string>().substr(1))), root, value);
    if (!schema.contains("oneOf")) return &schema;
    for (const Json& alternative : schema["oneOf"]) {
        const Json* resolved = resolve(alternative, root, value);
        bool knows_all = true;
        for (const auto& [key, member] : value.items()) knows_all &= resolved->at("properties").contains(key);
        if (knows_all) return resolved;
    }
    return nullptr;
}

/// Keys that the schema does not know, or requires and does not find.
std::vector<std::string> disagreements(const Json& value, const Json& schema, const Json& root, const std::string& at) {
    const Json* allowed = resolve(schema, root, value);
    if (allowed == nullptr) return {at + ": no alternative fits"};
    std::vector<std::string> found;
    const auto descend = [&](const Json& member, const Json& part, const std::string& path) {
        for (std::string& line : disagreements(member, part, root, path)) found.push_back(std::move(line));
    };
    if (value.is_array())
        for (const Json& entry : value) descend(entry, allowed->at("items"), at + "[]");
    if (!value.is_object()) return found;
    EXPECT_EQ(allowed->at("additionalProperties"), false) << at;
    for (const auto& [key, member] : value.items()) {
        if (allowed->at("properties").contains(key))
            descend(member, allowed->at("properties")[key], at + "." + key);
        else
            found.push_back(at + "." + key);
    }
    for (const Json& key : allowed->value("required", Json::array()))
        if (!value.contains(key.get<std::string>())) found.push_back(at + "." + key.get<std::string>() + " is missing");
    return found;
}

Json schema() { return Json::parse(read_file(fs::path(LFM_SOURCE_DIR) / "profiles/machine.schema.json")); }

TEST(MachineSchema, KnowsWhatTheProgramWrites) {
    const Json root = schema();
    EXPECT_EQ(disagreements(Json::parse(to_json(sample_part())), root, root, ""), std::vector<std::string>{});
    Json wrong = Json::parse(to_json(sample_part()));
    wrong["devices"][0]["speed"] = 1;
    wrong["host"].erase("n_cores");
    EXPECT_EQ(disagreements(wrong, root, root, ""),
              (std::vector<std::string>{".devices[].speed", ".host.n_cores is missing"}));
}

TEST(MachineSchema, RequiresAndNamesTheSameAsTheProgram) {
    const Json root = schema();
    for (const char* part : {"host", "device"}) {
        for (const auto& [key, entry] : root["$defs"][part]["properties"].items()) {
            Json text = Json::parse(to_json(sample_part()));
            Json& object = part == std::string("host") ? text["host"] : text["devices"][0];
            EXPECT_EQ(object.erase(key), 1u) << key << " is in the schema, but not written";
            const Json& required = root["$defs"][part]["required"];
            const bool needed = std::ranges::find(required, Json(key)) != required.end();
            if (needed)
                EXPECT_THROW(parse_machine_part(text.dump(), "text"), Error) << key;
            else
                EXPECT_NO_THROW(parse_machine_part(text.dump(), "text")) << key;
        }
    }
    const Json& types = root["$defs"]["type_figures"]["properties"];
    EXPECT_EQ(types.size(), all_dtypes().size() + 1);
    for (const DTypeInfo& info : all_dtypes()) EXPECT_TRUE(types.contains(std::string(info.name))) << info.name;
}

void check_basis(const Json& value, const std::string& at, int& n_figures) {
    if (value.is_structured())
        for (const auto& [key, member] : value.items()) check_basis(member, at + "." + key, n_figures);
    if (!value.is_object()) return;
    EXPECT_FALSE(value.contains("median")) << at << ": a shipped profile is of no machine in particular";
    if (value.contains("stated")) {
        ++n_figures;
        EXPECT_TRUE(value["source"].get<std::string>().starts_with("https://")) << at;
        EXPECT_LT(value["derating"], 1) << at;
    }
    if (value.contains("assumed")) {
        ++n_figures;
        EXPECT_GE(value["reason"].get<std::string>().size(), 12u) << at;
    }
}

TEST(ShippedProfiles, AreSoundAndSayWhereTheirFiguresComeFrom) {
    const Json root = schema();
    const auto files = shipped_files();
    EXPECT_GE(files.size(), 19u);
    for (const fs::path& path : files) {
        SCOPED_TRACE(path.filename().string());
        const std::string text = read_file(path);
        const MachinePart part = shipped(path);
        EXPECT_EQ(part.name + ".json", path.filename().string());
        EXPECT_EQ(part.measured_at, "");
        EXPECT_EQ(to_json(part), text) << "not as the program writes it";
        EXPECT_EQ(disagreements(Json::parse(text), root, root, ""), std::vector<std::string>{});
        int n_figures = 0;
        check_basis(Json::parse(text), "", n_figures);
        EXPECT_GE(n_figures, 13);
        const std::string kind = path.parent_path().filename().string();
        EXPECT_EQ(part.host.has_value(), kind != "gpu");
        EXPECT_EQ(part.devices.size(), kind == "host" ? 0u : 1u);
    }
}

TEST(ShippedProfiles, OrderOfSizesIsRight) {
    for (const fs::path& path : shipped_files()) {
        SCOPED_TRACE(path.filename().string());
        const MachinePart part = shipped(path);
        for (const DeviceProfile& device : part.devices) {
            if (!part.host) {
                const std::string size = std::to_string(device.memory.value >> 30) + "gb";
                EXPECT_TRUE(part.name.ends_with(size)) << size;
                EXPECT_EQ(device.memory.value % (1 << 30), 0u);
            }
            const double matvec = device.matvec_gb_per_s.find(DType::kQ4_0)->value();
            EXPECT_LT(matvec, device.matvec_gb_per_s.find(DType::kQ8_0)->value());
            EXPECT_LT(matvec, device.read_gb_per_s.value());
            EXPECT_LT(device.attention_gb_per_s.value(), matvec);
            EXPECT_LT(device.h2d_pinned_gb_per_s.value(), matvec);
            EXPECT_LT(device.h2d_pageable_gb_per_s.value(), device.h2d_pinned_gb_per_s.value());
            EXPECT_NEAR(device.h2d_while_host_reads_gb_per_s.value(), 0.9 * device.h2d_pinned_gb_per_s.value(), 0.06);
        }
        if (!part.host) continue;
        const auto& points = part.host->read_bandwidth;
        EXPECT_EQ(points.back().n_threads, part.host->n_threads);
        for (std::size_t i = 1; i < points.size(); ++i)
            EXPECT_LT(points[i - 1].gb_per_s.value(), points[i].gb_per_s.value());
        EXPECT_NEAR(part.host->matvec_gb_per_s.find(DType::kQ4_0)->value(), 0.85 * points.back().gb_per_s.value(), 0.1);
    }
}

}  // namespace
}  // namespace lfm::test
