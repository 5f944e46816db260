// Damaged tensor directories: names, shapes, types, and where the data lies.
#include <limits>

#include "tests/memory/bad_file.h"

namespace lfm::test {
namespace {

constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();

/// A sound tensor of 8 f32 weights, one alignment unit, for a case to break.
TensorSpec tensor(std::string name = "t") {
    TensorSpec spec;
    spec.name = std::move(name);
    spec.dims = {8};
    spec.data.resize(32);
    return spec;
}

std::vector<std::byte> file_of(std::vector<TensorSpec> tensors) {
    GgufBuilder builder;
    for (TensorSpec& spec : tensors) builder.add_tensor(std::move(spec));
    return builder.build();
}

std::vector<std::byte> with_dims(std::vector<std::uint64_t> dims, std::uint32_t type = 0) {
    TensorSpec spec = tensor();
    spec.dims = std::move(dims);
    spec.type = type;
    return file_of({spec});
}

/// A directory entry that claims a name of `length` bytes and has eight.
std::vector<std::byte> with_name_length(std::uint64_t length) {
    return GgufBuilder().set_n_tensors(1).append_raw(ByteWriter().put(length).put(0ull).bytes()).build();
}

std::vector<BadFile> bad_names() {
    std::vector<BadFile> cases{
        {"empty", file_of({tensor("")}), "tensor name: offset 32: expected a name"},
        {"too_long", file_of({tensor(std::string(65, 'n'))}), "tensor name: offset 24: expected at most 64 bytes"},
        {"twice", file_of({tensor("same"), tensor("same")}), "same: "},
        {"twice_far_apart", file_of({tensor("same"), tensor("x"), tensor("y"), tensor("same")}), "same: "},
        {"length_cut", GgufBuilder().set_n_tensors(1).append_raw(ByteWriter().put(1u).bytes()).build(),
         "tensor name: offset 24: "},
    };
    for (const std::uint64_t length : Numbers{9, 64, 1ull << 30, 1ull << 32, 1ull << 63, kMost - 31, kMost})
        cases.push_back({with_number("length", length), with_name_length(length),
                         length > 64 ? "tensor name: offset 24: " : "tensor name: offset 32: "});
    return cases;
}

std::vector<BadFile> bad_shapes() {
    std::vector<BadFile> cases;
    for (const std::uint32_t n_dims : {0u, 5u, 6u, 255u, 1000000u, 1u << 31, 0xffffffffu}) {
        TensorSpec spec = tensor();
        spec.n_dims = n_dims;
        cases.push_back({with_number("n_dims", n_dims), file_of({spec}),
                         "t: offset 33: expected 1 to 4 dimensions, found " + std::to_string(n_dims)});
    }
    const std::vector<std::vector<std::uint64_t>> zeros{{0},          {0, 8},       {8, 0},    {8, 1, 0},
                                                        {8, 1, 1, 0}, {0, 0, 0, 0}, {kMost, 0}};
    for (const auto& dims : zeros)
        cases.push_back({with_number("zero_dimension", cases.size()), with_dims(dims), "t: "});
    const std::vector<std::vector<std::uint64_t>> huge{
        {1ull << 32, 1ull << 32},
        {(1ull << 62) + 1},
        {4, (1ull << 30) - 1, (1ull << 30) + 1},
        {1ull << 62},
        {1ull << 61},
        {1ull << 60, 4},
        {1ull << 63},
        {1ull << 63, 2},
        {kMost},
        {kMost, kMost},
        {kMost, kMost, kMost, kMost},
        {1ull << 16, 1ull << 16, 1ull << 16, 1ull << 16},
        {1ull << 21, 1ull << 21, 1ull << 21, 2},
        {3, 6148914691236517206ull},  // 2^64 + 2
        {8, 1ull << 61},              // 2^64
        {8, (1ull << 61) + 1},        // 2^64 + 8
        {1ull << 40},
        {9},
        {8, 2},
    };
    for (const auto& dims : huge) cases.push_back({with_number("size", cases.size()), with_dims(dims), "t: "});
    TensorSpec fewer = tensor();
    fewer.n_dims = 2;  // the type and the offset are read as the second dimension
    cases.push_back({"n_dims_one_too_many", file_of({fewer}), "t: "});
    return cases;
}

std::vector<BadFile> bad_types() {
    std::vector<BadFile> cases;
    // Removed from the format (4, 5, 31-33, 36-38), known but in no LFM2 file, beyond the last, and negative ones.
    for (const std::uint32_t type :
         {4u,  5u,  9u,  15u, 16u, 17u, 18u, 19u, 21u, 22u, 24u, 25u,  26u,  27u,      28u,         29u,
          31u, 32u, 33u, 34u, 35u, 36u, 37u, 38u, 40u, 41u, 42u, 255u, 256u, 1u << 31, 0xfffffffeu, 0xffffffffu}) {
        TensorSpec spec = tensor();
        spec.type = type;
        cases.push_back({with_number("id", type), file_of({spec}),
                         "t: offset 45: expected a known tensor type, found type id " + std::to_string(type),
                         ErrorCode::kUnsupportedModel});
    }
    for (const DTypeInfo& info : all_dtypes()) {
        if (info.block_size == 1) continue;
        for (const std::uint64_t row : Numbers{1, info.block_size - 1, info.block_size + 1})
            cases.push_back({with_number("row_of_" + std::string(info.name), row),
                             with_dims({row, info.block_size}, static_cast<std::uint32_t>(info.type)),
                             "rows that are multiples of " + std::to_string(info.block_size)});
    }
    return cases;
}

std::vector<BadFile> bad_places() {
    std::vector<BadFile> cases;
    const auto with_offset = [](std::uint64_t offset) {
        TensorSpec spec = tensor();
        spec.offset = offset;
        return file_of({spec});
    };
    for (const std::uint64_t offset : Numbers{1, 4, 8, 16, 31, 33, (1ull << 63) + 1, kMost - 1, kMost})
        cases.push_back({with_number("misaligned", offset), with_offset(offset),
                         "t: offset 49: expected an offset that is a multiple of 32"});
    // One unit too far, then far, then sums with the size that reach or pass 2^64.
    for (const std::uint64_t offset : Numbers{32, 64, 1ull << 32, 1ull << 63, kMost - 63, kMost - 31})
        cases.push_back({with_number("beyond_the_file", offset), with_offset(offset),
                         "t: expected 32 bytes at offset " + std::to_string(offset)});
    TensorSpec misaligned = tensor();
    misaligned.offset = 32;
    cases.push_back({"misaligned_for_64",
                     GgufBuilder().add_u32("general.alignment", 64).set_alignment(64).add_tensor(misaligned).build(),
                     "t: offset 82: expected an offset that is a multiple of 64"});
    const auto overlapping = [](std::uint64_t first, std::uint64_t second) {
        TensorSpec a = tensor("first"), b = tensor("second"), c = tensor("third");
        a.dims = {16};
        a.data.resize(64);
        a.offset = first;
        b.offset = second;
        c.offset = 96;
        return file_of({a, b, c});
    };
    cases.push_back({"same_place", overlapping(0, 0), "inside "});
    cases.push_back({"overlap", overlapping(0, 32), "second: expected an offset from 64 on, found 32, inside first"});
    cases.push_back(
        {"overlap_in_reverse", overlapping(32, 64), "second: expected an offset from 96 on, found 64, inside first"});
    cases.push_back({"overlap_with_the_third", overlapping(64, 0),
                     "third: expected an offset from 128 on, found 96, inside first"});
    TensorSpec empty = tensor();
    empty.data.clear();
    cases.push_back({"no_data", file_of({empty}), "t: expected 32 bytes"});
    TensorSpec cut = tensor();
    cut.data.pop_back();
    cases.push_back({"last_byte_missing", file_of({cut}), "(is the file truncated?)"});
    // The directory ends unaligned, and so does the file: where the data would begin lies outside.
    cases.push_back({"no_data_section", GgufBuilder().set_alignment(1).add_tensor(empty).build(), "data section: "});
    cases.push_back({"no_data_section_for_64k",
                     GgufBuilder().add_u32("general.alignment", 1 << 16).add_tensor(tensor()).build(),
                     "data section: "});
    return cases;
}

class BadTensors : public testing::TestWithParam<BadFile> {};
TEST_P(BadTensors, AreRefused) { expect_refused(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Names, BadTensors, testing::ValuesIn(bad_names()), BadFileName());
INSTANTIATE_TEST_SUITE_P(Shapes, BadTensors, testing::ValuesIn(bad_shapes()), BadFileName());
INSTANTIATE_TEST_SUITE_P(Types, BadTensors, testing::ValuesIn(bad_types()), BadFileName());
INSTANTIATE_TEST_SUITE_P(Places, BadTensors, testing::ValuesIn(bad_places()), BadFileName());

TEST(GgufTensors, TheTensorTheCasesBreakIsSound) {
    const auto bytes = file_of({tensor()});
    EXPECT_EQ(GgufFile::parse(bytes, "sound").tensors().size(), 1u);
}

}  // namespace
}  // namespace lfm::test
