// Damaged headers: magic, version and counts.
#include <limits>

#include "tests/memory/bad_file.h"

namespace lfm::test {
namespace {

std::vector<std::byte> text(std::string_view characters) {
    return ByteWriter().put_bytes(std::as_bytes(std::span(characters))).bytes();
}

GgufBuilder sound() {
    const std::vector<std::byte> weights(128);
    return GgufBuilder().add_u32("a", 1).add_u32("b", 2).add_tensor("t", DType::kF32, {32}, weights);
}

std::vector<BadFile> bad_magic() {
    std::vector<BadFile> cases{
        {"no_bytes", {}, "magic: offset 0: expected 4 bytes, found 0"},
        {"one_byte", text("G"), "magic: offset 0: expected 4 bytes, found 1"},
        {"three_bytes", text("GGU"), "magic: offset 0: expected 4 bytes, found 3"},
        {"four_bytes", text("GGUF"), "version: offset 4: expected 4 bytes, found 0"},
        {"seven_bytes", text("GGUF\3\0\0"), "version"},
    };
    for (const char* magic : {"GGML", "ggjt", "FUGG", "gguf", "GGUG", "PK\3\4",
                              "\x7f"
                              "ELF",
                              "<!DO", "{\"__"})
        cases.push_back({"magic_" + std::to_string(cases.size()), sound().set_magic(magic).build(), "magic"});
    // What people have instead of a model is named, with what helps.
    cases.push_back({"git_lfs_pointer",
                     text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 730895360\n"),
                     "git lfs pull"});
    cases.push_back({"web_page", text("\n<!DOCTYPE html>\n<html><head></head></html>"), "found a web page"});
    cases.push_back({"web_page_with_mark", text("\xEF\xBB\xBF<html lang=en>"), "found a web page"});
    cases.push_back({"safetensors",
                     text(std::string("\x10\0\0\0\0\0\0\0{\"__metadata__\":{}", 26) + std::string(64, 'x')),
                     "found a safetensors file"});
    cases.push_back({"zip", text(std::string_view("PK\x03\x04\x14\x00\x00\x00", 8)), "found a ZIP or PyTorch file"});
    cases.push_back({"gzip", text(std::string_view("\x1f\x8b\x08\x00\x00\x00", 6)), "found a gzip file"});
    cases.push_back({"ggml", text("tjgg\3"), "found a GGML file"});
    cases.push_back({"json", text("{\"error\": \"Entry not found\"}"), "found a JSON file"});
    cases.push_back({"text", text("just some words"), "found another kind of file"});
    cases.push_back({"only_zeros", std::vector<std::byte>(4096), "magic"});
    return cases;
}

std::vector<BadFile> bad_version() {
    std::vector<BadFile> cases;
    for (const std::uint32_t version : {0u, 1u, 4u, 255u, 1u << 31, 0xffffffffu, 0x01000000u})
        cases.push_back({with_number("version", version), sound().set_version(version).build(),
                         "version: offset 4: expected 2 or 3, found " + std::to_string(version),
                         ErrorCode::kUnsupportedModel});
    for (const std::uint32_t version : {0x02000000u, 0x03000000u})
        cases.push_back({with_number("big_endian", version), sound().set_version(version).build(),
                         "found a big-endian one", ErrorCode::kUnsupportedModel});
    return cases;
}

std::vector<BadFile> bad_counts() {
    constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
    std::vector<BadFile> cases;
    for (const std::uint64_t count : Numbers{65537, 1000000, 1ull << 31, (1ull << 32) - 1, 1ull << 32, (1ull << 32) + 1,
                                             1ull << 61, 1ull << 62, (1ull << 63) - 1, 1ull << 63, kMost}) {
        cases.push_back({with_number("n_kv", count), sound().set_n_kv(count).build(), "n_kv: offset 16: "});
        cases.push_back(
            {with_number("n_tensors", count), sound().set_n_tensors(count).build(), "n_tensors: offset 8: "});
        cases.push_back({with_number("both", count), GgufBuilder().set_n_kv(count).set_n_tensors(count).build(),
                         "n_tensors: offset 8: "});
    }
    cases.push_back({"n_kv_without_entries", GgufBuilder().set_n_kv(1).build(), "key: offset 24: "});
    cases.push_back({"n_kv_one_too_many", GgufBuilder().add_u32("a", 1).set_n_kv(2).build(), "key: "});
    cases.push_back({"n_kv_one_too_few", sound().set_n_kv(1).build(), "b: offset 78: expected dimensions above zero"});
    cases.push_back({"n_tensors_without_tensors", GgufBuilder().set_n_tensors(1).build(), "tensor name: offset 24: "});
    cases.push_back({"n_tensors_one_too_many", sound().set_n_tensors(2).build(), "tensor name"});
    const auto whole = sound().build();
    for (const std::size_t size : {8, 15, 16, 23})
        cases.push_back({with_number("counts_cut_at", size),
                         {whole.begin(), whole.begin() + size},
                         size < 16 ? "n_tensors: offset 8" : "n_kv: offset 16"});
    return cases;
}

class BadHeader : public testing::TestWithParam<BadFile> {};
TEST_P(BadHeader, IsRefused) { expect_refused(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Magic, BadHeader, testing::ValuesIn(bad_magic()), BadFileName());
INSTANTIATE_TEST_SUITE_P(Version, BadHeader, testing::ValuesIn(bad_version()), BadFileName());
INSTANTIATE_TEST_SUITE_P(Counts, BadHeader, testing::ValuesIn(bad_counts()), BadFileName());

TEST(GgufHeader, TheFileTheCasesAreMadeOfIsSound) {
    const auto bytes = sound().build();
    EXPECT_EQ(GgufFile::parse(bytes, "sound").tensors().size(), 1u);
}

}  // namespace
}  // namespace lfm::test
