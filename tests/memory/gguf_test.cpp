// Sound GGUF files: what is written is read back, and getters refuse what does not fit them.
#include "memory/gguf.h"

#include <cstring>
#include <limits>

#include <gtest/gtest.h>

#include "memory/error.h"
#include "tests/gguf_builder.h"
#include "tests/gguf_walk.h"

namespace lfm::test {
namespace {

template <typename T>
GgufBuilder with(GgufType type, T value) {
    return GgufBuilder().add_raw("key", static_cast<std::uint32_t>(type), std::as_bytes(std::span(&value, 1)));
}

template <typename T>
GgufBuilder with_array(GgufType type, std::vector<T> values) {
    return GgufBuilder().add_raw_array("key", {type, values.size()}, std::as_bytes(std::span(values)));
}

/// Runs `use` on the parsed file. The bytes live until it returns.
template <typename Use>
void parse_and(const GgufBuilder& builder, Use use) {
    const auto bytes = builder.build();
    use(GgufFile::parse(bytes, "model.gguf"));
}

/// The message with which `use` is refused on the parsed file.
template <typename Use>
std::string refusal(const GgufBuilder& builder, Use use) {
    try {
        parse_and(builder, use);
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kInvalidModel);
        return error.what();
    }
    return "none";
}

TEST(Gguf, ReadsAFileWithoutAnything) {
    parse_and(GgufBuilder(), [](const GgufFile& file) {
        EXPECT_TRUE(file.entries().empty());
        EXPECT_TRUE(file.tensors().empty());
        EXPECT_TRUE(file.data().empty());
        EXPECT_EQ(file.alignment(), 32u);
        EXPECT_EQ(file.file_size(), 24u);
        EXPECT_EQ(file.mapping(), nullptr);
        EXPECT_EQ(file.name(), "model.gguf");
        EXPECT_EQ(file.find("key"), nullptr);
        EXPECT_EQ(file.find_tensor("t"), nullptr);
    });
}

TEST(Gguf, ReadsVersion2LikeVersion3) {
    parse_and(GgufBuilder().set_version(2).add_u32("key", 7),
              [](const GgufFile& file) { EXPECT_EQ(file.get_u32("key"), 7u); });
}

TEST(Gguf, GetsIntegersOfEveryWidth) {
    const auto expect_7 = [](const GgufFile& file) { EXPECT_EQ(file.get_u32("key"), 7u); };
    parse_and(with<std::uint8_t>(GgufType::kU8, 7), expect_7);
    parse_and(with<std::int8_t>(GgufType::kI8, 7), expect_7);
    parse_and(with<std::uint16_t>(GgufType::kU16, 7), expect_7);
    parse_and(with<std::int16_t>(GgufType::kI16, 7), expect_7);
    parse_and(with<std::uint32_t>(GgufType::kU32, 7), expect_7);
    parse_and(with<std::int32_t>(GgufType::kI32, 7), expect_7);
    parse_and(with<std::uint64_t>(GgufType::kU64, 7), expect_7);
    parse_and(with<std::int64_t>(GgufType::kI64, 7), expect_7);
    parse_and(with(GgufType::kU64, 0xffffffffull),
              [](const GgufFile& file) { EXPECT_EQ(file.get_u32("key"), 0xffffffffu); });
}

TEST(Gguf, RefusesIntegersOutOfRangeByName) {
    const auto get = [](const GgufFile& file) { file.get_u32("key"); };
    const auto find = [](const GgufFile& file) { file.find_u32("key"); };
    for (const auto& builder : {with<std::int8_t>(GgufType::kI8, -1), with<std::int64_t>(GgufType::kI64, -1),
                                with(GgufType::kU64, 1ull << 32), with(GgufType::kU64, 1ull << 63),
                                with(GgufType::kF32, 7.0f), with(GgufType::kBool, std::uint8_t{1}),
                                GgufBuilder().add_string("key", "7"), with_array<std::uint32_t>(GgufType::kU32, {7})}) {
        EXPECT_TRUE(refusal(builder, get).starts_with("model.gguf: key: expected an integer"));
        EXPECT_TRUE(refusal(builder, find).starts_with("model.gguf: key: expected an integer"));
    }
}

TEST(Gguf, GetsFloatsBoolsAndStrings) {
    const auto builder = GgufBuilder()
                             .add_f32("f32", 0.5f)
                             .add_f64("f64", 1e-5)
                             .add_bool("yes", true)
                             .add_bool("no", false)
                             .add_string("text", "a\0b")
                             .add_string("empty", "")
                             .add_string("nul", std::string_view("a\0b", 3));
    parse_and(builder, [](const GgufFile& file) {
        EXPECT_EQ(file.get_f32("f32"), 0.5f);
        EXPECT_EQ(file.find_f32("f64"), 1e-5f);
        EXPECT_EQ(file.find_bool("yes"), true);
        EXPECT_EQ(file.find_bool("no"), false);
        EXPECT_EQ(file.get_string("text"), "a");
        EXPECT_EQ(file.find_string("empty"), "");
        EXPECT_EQ(file.get_string("nul"), std::string_view("a\0b", 3));
    });
}

TEST(Gguf, AbsentKeysAreNothingOrRefused) {
    parse_and(GgufBuilder().add_u32("other", 1), [](const GgufFile& file) {
        EXPECT_EQ(file.find_u32("key"), std::nullopt);
        EXPECT_EQ(file.find_f32("key"), std::nullopt);
        EXPECT_EQ(file.find_bool("key"), std::nullopt);
        EXPECT_EQ(file.find_string("key"), std::nullopt);
        EXPECT_FALSE(file.find_integers("key"));
        EXPECT_FALSE(file.find_floats("key"));
        EXPECT_FALSE(file.find_strings("key"));
    });
    const std::string absent = "model.gguf: key: expected this key, found nothing";
    EXPECT_EQ(refusal(GgufBuilder(), [](const GgufFile& file) { file.get_u32("key"); }), absent);
    EXPECT_EQ(refusal(GgufBuilder(), [](const GgufFile& file) { file.get_f32("key"); }), absent);
    EXPECT_EQ(refusal(GgufBuilder(), [](const GgufFile& file) { file.get_string("key"); }), absent);
}

TEST(Gguf, OtherTypesAreRefusedByEveryGetter) {
    const auto number = GgufBuilder().add_i32("key", -1);
    EXPECT_NE(refusal(number, [](const GgufFile& file) { file.find_f32("key"); }).find("key: expected a float"),
              std::string::npos);
    EXPECT_NE(refusal(number, [](const GgufFile& file) { file.find_bool("key"); }).find("key: expected a bool"),
              std::string::npos);
    EXPECT_NE(refusal(number, [](const GgufFile& file) { file.find_string("key"); }).find("key: expected a string"),
              std::string::npos);
    EXPECT_NE(refusal(number, [](const GgufFile& file) { file.find_integers("key"); }).find("array of integers"),
              std::string::npos);
    EXPECT_NE(refusal(number, [](const GgufFile& file) { file.find_floats("key"); }).find("array of f32"),
              std::string::npos);
    EXPECT_NE(refusal(number, [](const GgufFile& file) { file.find_strings("key"); }).find("array of strings"),
              std::string::npos);
}

TEST(Gguf, GetsArrays) {
    const auto expect_1_and_2 = [](const GgufFile& file) {
        EXPECT_EQ(file.find_integers("key"), (std::vector<std::int64_t>{1, 2}));
    };
    parse_and(with_array<std::uint8_t>(GgufType::kU8, {1, 2}), expect_1_and_2);
    parse_and(with_array<std::int16_t>(GgufType::kI16, {1, 2}), expect_1_and_2);
    parse_and(with_array<std::uint32_t>(GgufType::kU32, {1, 2}), expect_1_and_2);
    parse_and(with_array<std::uint64_t>(GgufType::kU64, {1, 2}), expect_1_and_2);
    parse_and(with_array<std::int64_t>(GgufType::kI64, {-1}),
              [](const GgufFile& file) { EXPECT_EQ(file.find_integers("key"), (std::vector<std::int64_t>{-1})); });
    parse_and(with_array<float>(GgufType::kF32, {0.5f, -2}), [](const GgufFile& file) {
        EXPECT_EQ(file.find_floats("key"), (std::vector<float>{0.5f, -2}));
    });
    const std::vector<std::string> words{"ab", "", "c"};
    parse_and(GgufBuilder().add_string_array("key", words), [](const GgufFile& file) {
        EXPECT_EQ(file.find_strings("key"), (std::vector<std::string_view>{"ab", "", "c"}));
    });
}

TEST(Gguf, GetsEmptyArrays) {
    parse_and(with_array<std::uint32_t>(GgufType::kU32, {}),
              [](const GgufFile& file) { EXPECT_TRUE(file.find_integers("key")->empty()); });
    parse_and(with_array<float>(GgufType::kF32, {}),
              [](const GgufFile& file) { EXPECT_TRUE(file.find_floats("key")->empty()); });
    parse_and(with_array<char>(GgufType::kString, {}),
              [](const GgufFile& file) { EXPECT_TRUE(file.find_strings("key")->empty()); });
}

TEST(Gguf, RefusesArraysOfTheWrongElements) {
    const auto integers = [](const GgufFile& file) { file.find_integers("key"); };
    EXPECT_NE(refusal(with_array<float>(GgufType::kF32, {1}), integers).find("key: "), std::string::npos);
    EXPECT_NE(refusal(with_array<std::uint64_t>(GgufType::kU64, {1ull << 63}), integers).find("key: "),
              std::string::npos);
    const std::vector<std::string> words{"1"};
    EXPECT_NE(refusal(GgufBuilder().add_string_array("key", words), integers).find("key: "), std::string::npos);
}

TEST(Gguf, PlacesTensorsOfEveryType) {
    GgufBuilder builder;
    for (const DTypeInfo& info : all_dtypes())
        builder.add_tensor(info.name, info.type, {2 * info.block_size, 3},
                           std::vector<std::byte>(6 * info.block_bytes, std::byte{42}));
    parse_and(builder, [](const GgufFile& file) {
        walk(file);
        for (const DTypeInfo& info : all_dtypes()) {
            const GgufTensor* tensor = file.find_tensor(info.name);
            ASSERT_NE(tensor, nullptr);
            EXPECT_EQ(tensor->type, info.type);
            EXPECT_EQ(tensor->n_dims, 2u);
            EXPECT_EQ(tensor->dims, (std::array<std::uint64_t, 4>{2 * info.block_size, 3, 1, 1}));
            EXPECT_EQ(tensor->bytes, 6 * info.block_bytes);
            EXPECT_EQ(tensor->offset % 32, 0u);
            EXPECT_EQ(file.data()[tensor->offset], std::byte{42});
            EXPECT_EQ(file.data()[tensor->offset + tensor->bytes - 1], std::byte{42});
        }
    });
}

TEST(Gguf, ObeysTheAlignmentOfTheFile) {
    const std::vector<std::byte> weights(4, std::byte{42});
    for (const std::uint32_t alignment : {8u, 16u, 32u, 64u, 4096u, 65536u})
        parse_and(GgufBuilder()
                      .add_u32("general.alignment", alignment)
                      .set_alignment(alignment)
                      .add_tensor("a", DType::kF32, {1}, weights)
                      .add_tensor("b", DType::kF32, {1, 1, 1, 1}, weights),
                  [&](const GgufFile& file) {
                      EXPECT_EQ(file.alignment(), alignment);
                      EXPECT_EQ((file.file_size() - file.data().size()) % alignment, 0u);
                      EXPECT_EQ(file.find_tensor("b")->offset, alignment);
                      EXPECT_EQ(file.data()[alignment], std::byte{42});
                  });
}

TEST(Gguf, TensorsMayLieInAnyOrderAndLeaveGaps) {
    const std::vector<std::byte> weights(32);
    const auto at = [&](const char* name, std::uint64_t offset) {
        return TensorSpec{name, 0, {8}, weights, offset, {}};
    };
    parse_and(GgufBuilder()
                  .add_tensor(at("a", 128))
                  .add_tensor(at("b", 0))
                  .add_tensor(at("c", 64))
                  .append_raw(weights)
                  .append_raw(weights),
              [](const GgufFile& file) { EXPECT_EQ(file.tensors()[0].offset, 128u); });
}

}  // namespace
}  // namespace lfm::test
