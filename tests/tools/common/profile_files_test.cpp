// Machine profiles found by name and by path.
#include "tools/common/profile_files.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <sys/stat.h>

#include "memory/error.h"
#include "tests/tools/scratch_dir.h"

namespace lfm::tools {
namespace {

namespace fs = std::filesystem;
using test::ScratchDir;
using Names = std::vector<std::string>;

const fs::path kProfiles = fs::path(LFM_SOURCE_DIR) / "profiles";

std::string read_file(const fs::path& path) {
    std::stringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
}

void write(const fs::path& path, const std::string& text) {
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
}

/// The shipped profile `kind`/`name` under another name.
std::string renamed(const char* kind, const char* name, const std::string& new_name) {
    MachinePart part = parse_machine_part(read_file(kProfiles / kind / (std::string(name) + ".json")), name);
    part.name = new_name;
    return to_json(part);
}

class ProfileFiles : public testing::Test {
protected:
    ProfileFiles() { ::unsetenv("LFM_PROFILES"); }
    ~ProfileFiles() override { ::unsetenv("LFM_PROFILES"); }
    void use_own_folder() { ::setenv("LFM_PROFILES", folder_.file("").c_str(), 1); }

    ScratchDir folder_;
};

/// What load_machine_part throws for `name`; the code must be `code`.
std::string refusal(const std::string& name, ErrorCode code) {
    try {
        load_machine_part(name);
        ADD_FAILURE() << name << " was accepted";
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), code) << error.what();
        return error.what();
    }
    return "";
}

TEST_F(ProfileFiles, EveryShippedProfileIsFoundByItsName) {
    Names names;
    for (const char* kind : {"gpu", "host", "machine"}) {
        for (const auto& entry : fs::directory_iterator(kProfiles / kind)) {
            names.push_back(entry.path().stem().string());
            EXPECT_EQ(load_machine_part(names.back()), parse_machine_part(read_file(entry.path()), "shipped"));
        }
    }
    std::ranges::sort(names);
    const Names found = profile_names();
    EXPECT_TRUE(std::ranges::includes(found, names));
}

TEST_F(ProfileFiles, APathIsReadWhereItLies) {
    const std::string path = folder_.file("c++/my+card.json");
    write(path, renamed("gpu", "rtx-4060-8gb", "mine"));
    EXPECT_EQ(load_machine_part(path).name, "mine");
    EXPECT_EQ(load_machine_part(kProfiles / "host/ddr4-3200.json").name, "ddr4-3200");
}

TEST_F(ProfileFiles, SeveralPartsAddUp) {
    const std::string path = folder_.file("mine.json");
    write(path, renamed("gpu", "rtx-4060-8gb", "mine"));
    const MachinePart part = load_machine_part("rtx-3060-12gb+ddr4-3200+" + path + "+rtx-3060-12gb");
    EXPECT_EQ(part.name, "rtx-3060-12gb+ddr4-3200+mine+rtx-3060-12gb");
    ASSERT_EQ(part.devices.size(), 3u);
    EXPECT_EQ(part.devices[0], part.devices[2]);
    EXPECT_EQ(part.devices[1].name, "NVIDIA GeForce RTX 4060");
    ASSERT_TRUE(part.host);
    EXPECT_EQ(part.host->memory, Bytes{std::uint64_t{32} << 30});
}

TEST_F(ProfileFiles, AMachineHasAHost) {
    const MachineProfile alone = load_machine(Names{"rtx-4090-24gb"});
    EXPECT_EQ(alone.name, "rtx-4090-24gb+ddr5-5600");
    EXPECT_EQ(alone.host, load_machine_part("ddr5-5600").host);
    const MachineProfile chosen = load_machine(Names{"rtx-4090-24gb+rx-7600-8gb", "ddr4-3200"});
    EXPECT_EQ(chosen.name, "rtx-4090-24gb+rx-7600-8gb+ddr4-3200");
    EXPECT_EQ(chosen.host, load_machine_part("ddr4-3200").host);
    EXPECT_EQ(chosen.devices.size(), 2u);
    EXPECT_EQ(load_machine(Names{"ryzen-ai-max-395"}).devices[0].memory_kind, DeviceMemory::kSharedWithHost);
    EXPECT_THROW(load_machine(Names{}), Error);
}

TEST_F(ProfileFiles, TheUsersFolderComesFirst) {
    use_own_folder();
    write(folder_.file("gpu/rtx-4090-24gb.json"), renamed("gpu", "rtx-4060-8gb", "changed"));
    write(folder_.file("machine/attic.json"), renamed("machine", "ryzen-ai-max-395", "attic"));
    write(folder_.file("gpu/notes.txt"), "not a profile");
    EXPECT_EQ(load_machine_part("rtx-4090-24gb").name, "changed");
    EXPECT_EQ(load_machine_part("attic").name, "attic");
    EXPECT_EQ(load_machine_part("rtx-3060-12gb").name, "rtx-3060-12gb");
    const Names names = profile_names();
    EXPECT_EQ(std::ranges::count(names, "rtx-4090-24gb"), 1);
    EXPECT_EQ(std::ranges::count(names, "attic"), 1);
    EXPECT_EQ(std::ranges::count(names, "notes"), 0);
    ::setenv("LFM_PROFILES", "/nowhere", 1);
    EXPECT_EQ(load_machine_part("rtx-4090-24gb").name, "rtx-4090-24gb");
}

TEST_F(ProfileFiles, AnUnknownNameGivesTheNamesThereAreNearestFirst) {
    struct Case {
        const char* name;
        const char* nearest;
    };
    for (const Case& unknown :
         {Case{"rtx-4090", "rtx-4090-24gb"}, Case{"4090", "rtx-4090-24gb"}, Case{"rtx-3060-12g8", "rtx-3060-12gb"},
          Case{"9070", "rx-9070-xt-16gb"}, Case{"ddr5-6000", "ddr5-5600"}, Case{"b580", "arc-b580-12gb"}}) {
        const std::string message = refusal(unknown.name, ErrorCode::kUsage);
        EXPECT_TRUE(message.starts_with("--profile: expected a file or one of " + std::string(unknown.nearest) + ", "))
            << message;
        EXPECT_TRUE(message.ends_with(", found " + std::string(unknown.name))) << message;
        for (const std::string& name : profile_names()) EXPECT_NE(message.find(name), std::string::npos) << name;
    }
    for (const char* name : {"", "+", "rtx-4090-24gb+", "+ddr4-3200", "rtx-4090-24gb++ddr4-3200", ".."})
        refusal(name, ErrorCode::kUsage);
    EXPECT_LT(refusal(std::string(100'000, 'x'), ErrorCode::kUsage).size(), 1000u);
}

TEST_F(ProfileFiles, WhatIsNoProfileIsRefusedByItsPath) {
    const auto expect_named = [](const std::string& path, ErrorCode code, const std::string& fragment) {
        const std::string message = refusal(path, code);
        EXPECT_TRUE(message.starts_with(path + ": ")) << message;
        EXPECT_NE(message.find(fragment), std::string::npos) << message;
    };
    expect_named(folder_.file("none.json"), ErrorCode::kIo, "No such file");
    expect_named("none.json", ErrorCode::kIo, "No such file");
    expect_named(folder_.file(""), ErrorCode::kInvalidInput, "expected a file");
    expect_named("/dev/zero", ErrorCode::kInvalidInput, "expected a file");
    const std::string pipe = folder_.file("pipe.json");
    ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
    expect_named(pipe, ErrorCode::kInvalidInput, "expected a file");

    const std::string path = folder_.file("profile.json");
    write(path, "{\"format\": 1}");
    expect_named(path, ErrorCode::kInvalidInput, "format: expected");
    const std::string sound = renamed("gpu", "rtx-4060-8gb", "mine");
    write(path, sound + std::string((4 << 20) - sound.size(), ' '));
    EXPECT_EQ(load_machine_part(path).name, "mine");
    write(path, sound + std::string((4 << 20) - sound.size() + 1, ' '));
    expect_named(path, ErrorCode::kInvalidInput, "at most 4 MiB, found more");

    use_own_folder();
    write(folder_.file("gpu/broken.json"), "{");
    EXPECT_NE(refusal("broken", ErrorCode::kInvalidInput).find(folder_.file("gpu/broken.json")), std::string::npos);
}

}  // namespace
}  // namespace lfm::tools
