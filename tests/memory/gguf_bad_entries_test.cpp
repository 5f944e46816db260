// Damaged metadata: lengths, types, arrays, duplicates and the alignment.
#include <limits>

#include "tests/memory/bad_file.h"

namespace lfm::test {
namespace {

constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint64_t kGiB = 1 << 30;

template <typename T>
std::vector<std::byte> bytes_of(T value) {
    return ByteWriter().put(value).bytes();
}

std::uint32_t id(GgufType type) { return static_cast<std::uint32_t>(type); }

struct Scalar {
    const char* name;
    GgufType type;
    std::size_t size;
};
constexpr Scalar kScalars[] = {
    {"u8", GgufType::kU8, 1},   {"i8", GgufType::kI8, 1},   {"u16", GgufType::kU16, 2}, {"i16", GgufType::kI16, 2},
    {"u32", GgufType::kU32, 4}, {"i32", GgufType::kI32, 4}, {"f32", GgufType::kF32, 4}, {"bool", GgufType::kBool, 1},
    {"u64", GgufType::kU64, 8}, {"i64", GgufType::kI64, 8}, {"f64", GgufType::kF64, 8},
};

/// The last entry of the file is the damaged one, so that a value runs into the end.
std::vector<std::byte> with_value(GgufType type, std::span<const std::byte> payload) {
    return GgufBuilder().add_u32("before", 1).add_raw("broken", id(type), payload).build();
}

std::vector<std::byte> with_array(GgufType type, std::uint64_t count, std::span<const std::byte> elements) {
    return GgufBuilder().add_u32("before", 1).add_raw_array("broken", {type, count}, elements).build();
}

std::vector<BadFile> bad_keys() {
    std::vector<BadFile> cases{
        {"empty", GgufBuilder().add_u32("", 1).build(), "key: offset 32: expected a name"},
        {"length_above_the_limit", GgufBuilder().add_u32(std::string(1025, 'k'), 1).build(), "key: offset 24: "},
        {"length_cut", GgufBuilder().add_raw_entry(bytes_of(std::uint32_t{4})).build(), "key: offset 24: "},
        {"twice", GgufBuilder().add_u32("same", 1).add_u32("same", 1).build(), "same: "},
        {"twice_as_other_type", GgufBuilder().add_u32("same", 1).add_string("same", "1").build(), "same: "},
        {"twice_far_apart", GgufBuilder().add_u32("same", 1).add_u8("x", 1).add_u8("y", 1).add_u32("same", 2).build(),
         "same: "},
        {"twice_alignment", GgufBuilder().add_u32("general.alignment", 32).add_u32("general.alignment", 64).build(),
         "general.alignment: "},
        {"twice_unprintable", GgufBuilder().add_u8("\x01\xff\n", 1).add_u8("\x01\xff\n", 1).build(), ": ???: "},
        {"twice_long", GgufBuilder().add_u8(std::string(1000, 'k'), 1).add_u8(std::string(1000, 'k'), 1).build(),
         "kkkk: "},
    };
    for (const std::uint64_t length : Numbers{17, 1025, 65536, kGiB, 1ull << 32, 1ull << 63, kMost - 31, kMost})
        cases.push_back({with_number("length", length),
                         GgufBuilder().add_raw_entry(ByteWriter().put(length).put_string("12345678").bytes()).build(),
                         length == 17 ? "key: offset 32: " : "key: offset 24: "});
    return cases;
}

std::vector<BadFile> bad_values() {
    std::vector<BadFile> cases;
    for (const std::uint32_t type : {13u, 14u, 255u, 1u << 8, 1u << 31, 0xffffffffu}) {
        cases.push_back(
            {with_number("type", type), GgufBuilder().add_raw("broken", type, bytes_of(0ull)).build(), "broken: "});
        cases.push_back({with_number("element_type", type), with_array(static_cast<GgufType>(type), 1, bytes_of(0ull)),
                         "broken: "});
    }
    for (const Scalar& scalar : kScalars)
        cases.push_back({std::string("cut_") + scalar.name,
                         with_value(scalar.type, std::vector<std::byte>(scalar.size - 1)),
                         "broken: offset 64: expected " + std::to_string(scalar.size) + " bytes, found " +
                             std::to_string(scalar.size - 1)});
    for (const std::uint64_t length : Numbers{9, kGiB, 1ull << 32, 1ull << 63, kMost - 72, kMost})
        cases.push_back({with_number("string_length", length),
                         with_value(GgufType::kString, ByteWriter().put(length).put(0ull).bytes()),
                         length == 9 ? "broken: offset 72: " : "broken: offset 64: "});
    cases.push_back(
        {"string_length_cut", with_value(GgufType::kString, bytes_of(std::uint32_t{0})), "broken: offset 64: "});
    for (const int value : {2, 3, 127, 255})
        cases.push_back({with_number("bool", value),
                         with_value(GgufType::kBool, bytes_of(static_cast<std::uint8_t>(value))),
                         "broken: offset 64: expected 0 or 1, found " + std::to_string(value)});
    cases.push_back({"bool_in_array", with_array(GgufType::kBool, 4, bytes_of(0x01020100)), "broken: "});
    return cases;
}

std::vector<BadFile> bad_arrays() {
    std::vector<BadFile> cases;
    for (const Scalar& scalar : kScalars) {
        const std::string name = std::string(scalar.name) + "_count";
        // One too many, a size that wraps to 8 or to 0, and the largest.
        for (const std::uint64_t count :
             Numbers{8 / scalar.size + 1, kMost / scalar.size + 1 + 8 / scalar.size, 1ull << 63, kMost})
            if (count != 8 / scalar.size)
                cases.push_back({with_number(name, count), with_array(scalar.type, count, bytes_of(0ull)), "broken: "});
    }
    for (const std::uint64_t count : Numbers{3, kGiB, 1ull << 61, (1ull << 61) + 2, 1ull << 63, kMost})
        cases.push_back({with_number("string_count", count),
                         with_array(GgufType::kString, count, ByteWriter().put(0ull).put(0ull).bytes()), "broken: "});
    for (const std::uint64_t length : Numbers{1, kGiB, kMost - 80, kMost})
        cases.push_back({with_number("second_string_length", length),
                         with_array(GgufType::kString, 2, ByteWriter().put(0ull).put(length).bytes()), "broken: "});
    cases.push_back({"of_arrays",
                     with_array(GgufType::kArray, 1, ByteWriter().put(GgufType::kU8).put(1ull).put('x').bytes()),
                     "broken: offset 64: expected an array of values"});
    ByteWriter deep;
    for (int i = 0; i < 100000; ++i) deep.put(GgufType::kArray).put(1ull);
    cases.push_back({"of_arrays_deep", with_value(GgufType::kArray, deep.bytes()), "broken: "});
    cases.push_back({"header_cut", with_value(GgufType::kArray, bytes_of(GgufType::kU8)), "broken: offset 68: "});
    cases.push_back({"element_type_cut", with_value(GgufType::kArray, {}), "broken: offset 64: "});
    // One element more than any array may have, all of them there.
    cases.push_back({"more_than_a_million",
                     with_array(GgufType::kU8, (1 << 20) + 1, std::vector<std::byte>((1 << 20) + 1)), "broken: "});
    return cases;
}

std::vector<BadFile> bad_alignment() {
    const std::string key = "general.alignment";
    std::vector<BadFile> cases{
        {"u8", GgufBuilder().add_u8(key, 32).build(), key},
        {"i32", GgufBuilder().add_i32(key, 32).build(), key},
        {"u64", GgufBuilder().add_u64(key, 32).build(), key},
        {"f32", GgufBuilder().add_f32(key, 32).build(), key},
        {"bool", GgufBuilder().add_bool(key, true).build(), key},
        {"string", GgufBuilder().add_string(key, "32").build(), key},
        {"empty_string", GgufBuilder().add_string(key, "").build(), key},
        {"array", GgufBuilder().add_u32_array(key, std::vector<std::uint32_t>{32}).build(), key},
    };
    for (const std::uint32_t alignment : {0u, 1u, 2u, 4u, 7u, 13u, 24u, 33u, 1u << 17, 1u << 30, 1u << 31, 0xffffffffu})
        cases.push_back(
            {with_number("value", alignment), GgufBuilder().add_u32(key, alignment).build(),
             key + ": offset 53: expected a power of two from 8 to 65536, found " + std::to_string(alignment)});
    return cases;
}

class BadEntries : public testing::TestWithParam<BadFile> {};
TEST_P(BadEntries, AreRefused) { expect_refused(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Keys, BadEntries, testing::ValuesIn(bad_keys()), BadFileName());
INSTANTIATE_TEST_SUITE_P(Values, BadEntries, testing::ValuesIn(bad_values()), BadFileName());
INSTANTIATE_TEST_SUITE_P(Arrays, BadEntries, testing::ValuesIn(bad_arrays()), BadFileName());
INSTANTIATE_TEST_SUITE_P(Alignment, BadEntries, testing::ValuesIn(bad_alignment()), BadFileName());

}  // namespace
}  // namespace lfm::test
