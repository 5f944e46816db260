// Damage everywhere in a file, files made to cost time or memory, and paths that name no model file.
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/gguf_walk.h"
#include "tests/memory/bad_file.h"

namespace lfm::test {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

/// Every value type, an array of each kind, two tensors; ends with the last tensor's last byte.
std::vector<std::byte> small_file() {
    const std::vector<std::string> words{"ab", "", "c"};
    const std::vector<std::int32_t> integers{-1, 2};
    const std::vector<float> floats{0.5f};
    const std::vector<std::byte> weights(48, std::byte{7});
    return GgufBuilder()
        .add_u32("general.alignment", 16)
        .add_u8("u8", 1)
        .add_i64("i64", -1)
        .add_f64("f64", 1.5)
        .add_bool("bool", true)
        .add_string("string", "text")
        .add_string_array("words", words)
        .add_i32_array("integers", integers)
        .add_f32_array("floats", floats)
        .set_alignment(16)
        .add_tensor("t.weight", DType::kF32, {4, 3}, weights)
        .add_tensor("q.weight", DType::kQ4_0, {32}, std::span(weights).first(18))
        .build();
}

/// Keys of 16 bytes that std::hash (Murmur, with libstdc++'s constants) maps to one value: for any first eight bytes
/// there are second ones that lead to a chosen state.
std::string colliding_key(std::uint64_t number) {
    constexpr std::uint64_t kMul = 0xc6a4a7935bd1e995u, kInverse = 0x5f7a0ea7e59b19bdu, kSeed = 0xc70f6907u;
    static_assert(kMul * kInverse == 1);
    const auto mix = [](std::uint64_t value) { return value ^ value >> 47; };
    const std::uint64_t state = (kSeed ^ 16 * kMul ^ mix(number * kMul) * kMul) * kMul;
    const std::uint64_t second = mix((state ^ 1) * kInverse) * kInverse;  // mix undoes itself
    return std::string(reinterpret_cast<const char*>(&number), 8) +
           std::string(reinterpret_cast<const char*>(&second), 8);
}

/// Parses, or not, in bounded time and memory.
void expect_cheap(std::span<const std::byte> bytes) {
    const double begin = cpu_seconds();
    const AllocationCounter allocations;
    try {
        GgufFile::parse(bytes, "cheap.gguf");
    } catch (const Error&) {
    }
    EXPECT_LT(cpu_seconds() - begin, 1.0);
    EXPECT_LE(allocations.peak_bytes(), 2 * bytes.size() + (16 << 20));
}

TEST(GgufHostile, EveryPrefixIsRefused) {
    const auto whole = small_file();
    walk(GgufFile::parse(whole, "whole"));
    for (std::size_t size = 0; size < whole.size(); ++size) {
        const std::vector<std::byte> prefix(whole.begin(), whole.begin() + size);
        EXPECT_THROW(GgufFile::parse(prefix, "prefix"), Error) << size;
    }
}

TEST(GgufHostile, EveryByteChangedIsParsedOrRefused) {
    auto bytes = small_file();
    std::size_t n_refused = 0;
    for (std::byte& byte : bytes) {
        const std::byte before = byte;
        for (const int change : {1, 2, 4, 8, 16, 32, 64, 128, 255, 127}) {
            byte = before ^ static_cast<std::byte>(change);
            try {
                walk(GgufFile::parse(bytes, "flipped"));
            } catch (const Error&) {
                ++n_refused;
            }
        }
        byte = before;
    }
    EXPECT_GT(n_refused, bytes.size() * 4);
}

TEST(GgufHostile, AMillionTinyEntriesAreRefused) {
    GgufBuilder builder;
    for (int i = 0; i < 1000000; ++i) builder.add_u8(std::to_string(i), 0);
    expect_refused({"million", builder.build(), "n_kv: "});
}

TEST(GgufHostile, AMillionTinyTensorsAreRefused) {
    GgufBuilder builder;
    for (int i = 0; i < 1000000; ++i) builder.add_tensor(TensorSpec{std::to_string(i), 0, {1}, {}, i * 32ull, {}});
    expect_refused({"million", builder.build(), "n_tensors: "});
}

TEST(GgufHostile, SixtyThousandEntriesParseFast) {
    GgufBuilder builder;
    for (int i = 0; i < 60000; ++i) builder.add_u32("key." + std::to_string(i), i);
    const auto bytes = builder.build();
    const double begin = cpu_seconds();
    const GgufFile file = GgufFile::parse(bytes, "many");
    EXPECT_LT(cpu_seconds() - begin, 0.5);
    for (int i = 0; i < 60000; ++i) EXPECT_EQ(file.get_u32("key." + std::to_string(i)), static_cast<std::uint32_t>(i));
}

TEST(GgufHostile, AsManyEntriesAndTensorsAsAllowedCostLittle) {
    GgufBuilder builder;
    for (int i = 0; i < 65536; ++i) builder.add_u8(std::to_string(i), 0);
    for (int i = 0; i < 65536; ++i) builder.add_tensor(TensorSpec{std::to_string(i), 0, {1}, {}, i * 32ull, {}});
    expect_refused({"most", builder.build(), "0: expected 4 bytes at offset "});
}

TEST(GgufHostile, KeysWithOneHashCostLittle) {
    ASSERT_EQ(std::hash<std::string>()(colliding_key(1)), std::hash<std::string>()(colliding_key(2)));
    GgufBuilder builder;
    for (std::uint64_t i = 0; i < 65536; ++i) builder.add_u8(colliding_key(i), 0);
    expect_cheap(builder.build());
}

TEST(GgufHostile, AHeaderOf64MiBIsRefused) {
    expect_refused({"long", GgufBuilder().add_string("long", std::string(64 << 20, 'x')).build(), "long: offset 48: "});
}

TEST(GgufHostile, ManyStringsCostLittle) {
    const std::vector<std::byte> empty_strings(8 << 20);
    expect_cheap(GgufBuilder().add_raw_array("a", {GgufType::kString, 1 << 20}, empty_strings).build());
}

/// A directory of its own for the test's files.
class GgufPaths : public testing::Test {
protected:
    GgufPaths() {
        std::string name = (fs::temp_directory_path() / "lfm-XXXXXX").string();
        folder_ = ::mkdtemp(name.data());
    }
    ~GgufPaths() override { fs::remove_all(folder_); }

    fs::path write(const char* name, std::span<const std::byte> bytes) const {
        std::ofstream(folder_ / name, std::ios::binary)
            .write(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        return folder_ / name;
    }
    static void expect_refused_path(const fs::path& path, std::string_view fragment) {
        const auto begin = Clock::now();
        try {
            GgufFile::open(path);
            ADD_FAILURE() << path << " was opened";
        } catch (const Error& error) {
            EXPECT_NE(std::string(error.what()).find(path.string()), std::string::npos) << error.what();
            EXPECT_NE(std::string(error.what()).find(fragment), std::string::npos) << error.what();
        }
        EXPECT_LT(Clock::now() - begin, milliseconds(1000));
    }

    fs::path folder_;
};

TEST_F(GgufPaths, ASoundFileOpens) {
    const GgufFile file = GgufFile::open(write("sound.gguf", small_file()));
    walk(file);
    ASSERT_NE(file.mapping(), nullptr);
    EXPECT_EQ(file.mapping()->bytes().size(), file.file_size());
}

TEST_F(GgufPaths, WhatIsNoRegularFileIsRefused) {
    ASSERT_EQ(::mkfifo((folder_ / "fifo").c_str(), 0600), 0);
    expect_refused_path(folder_ / "fifo", "regular file");
    expect_refused_path(folder_, "regular file");
    for (const char* device : {"/dev/null", "/dev/zero", "/dev/random"}) expect_refused_path(device, "regular file");
    fs::create_symlink("/dev/zero", folder_ / "link");
    expect_refused_path(folder_ / "link", "regular file");
}

TEST_F(GgufPaths, WhatIsNotThereOrTooShortIsRefused) {
    expect_refused_path(folder_ / "missing", "cannot open");
    expect_refused_path(folder_ / "missing" / "file", "cannot open");
    expect_refused_path(write("empty", {}), "empty");
    expect_refused_path(write("four", std::as_bytes(std::span("GGUF", 4))), "version");
}

TEST_F(GgufPaths, AFileAsLargeAsTheLargestModelOpensAtOnce) {
    TensorSpec spec{"t", static_cast<std::uint32_t>(DType::kQ4_0), {1 << 20, 22000}, {}, {}, {}};
    const fs::path path = write("sparse", GgufBuilder().add_tensor(spec).build());
    fs::resize_file(path, 13'500'000'000);
    const auto begin = Clock::now();
    const AllocationCounter allocations;
    const GgufFile file = GgufFile::open(path);
    EXPECT_LT(Clock::now() - begin, milliseconds(500));
    EXPECT_LT(allocations.peak_bytes(), 1u << 20);
    EXPECT_GT(file.tensors()[0].bytes, 12'900'000'000u);
    EXPECT_EQ(file.data()[file.tensors()[0].bytes - 1], std::byte{0});
}

TEST_F(GgufPaths, AnEndlessArrayInASparseFileIsRefusedAtOnce) {
    const auto endless = [](GgufType type) {
        return GgufBuilder().add_raw_array("endless", {type, 1'500'000'000}, {}).build();
    };
    for (const GgufType type : {GgufType::kString, GgufType::kBool, GgufType::kU8}) {
        const fs::path path = write("sparse", endless(type));
        fs::resize_file(path, 13'500'000'000);
        expect_refused_path(path, "endless: ");
    }
}

}  // namespace
}  // namespace lfm::test
