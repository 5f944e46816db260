// A damaged model file as a test case, and what is asked of every refusal.
#pragma once

#include <ctime>
#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "memory/error.h"
#include "memory/gguf.h"
#include "tests/allocation_counter.h"
#include "tests/gguf_builder.h"

namespace lfm::test {

struct BadFile {
    std::string name;  // letters, digits and underscores
    std::vector<std::byte> bytes;
    std::string fragment;  // of the message: the field, or more
    ErrorCode code = ErrorCode::kInvalidModel;
};

inline void PrintTo(const BadFile& file, std::ostream* out) {
    *out << file.name << ", " << file.bytes.size() << " bytes";
}

struct BadFileName {
    std::string operator()(const testing::TestParamInfo<BadFile>& info) const { return info.param.name; }
};

/// Processor time of this process: a busy machine does not lengthen it.
inline double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

/// Refused with a typed error that names the field, within a second and with bounded memory.
inline void expect_refused(const BadFile& file) {
    const std::vector<std::byte> bytes(file.bytes.begin(),
                                       file.bytes.end());  // no spare capacity for a reader to run into
    const double begin = cpu_seconds();
    const AllocationCounter allocations;
    try {
        GgufFile::parse(bytes, "bad.gguf");
        ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), file.code) << error.what();
        EXPECT_NE(std::string(error.what()).find(file.fragment), std::string::npos)
            << "expected \"" << file.fragment << "\" in: " << error.what();
        EXPECT_LT(std::string(error.what()).size(), 400u);
    }
    EXPECT_LT(cpu_seconds() - begin, 1.0);
    EXPECT_LE(allocations.peak_bytes(), 2 * bytes.size() + (16 << 20));
}

using Numbers = std::vector<std::uint64_t>;

/// The name of a case that differs from others by a number.
inline std::string with_number(const std::string& name, std::uint64_t number) {
    return name + "_" + std::to_string(number);
}

}  // namespace lfm::test
