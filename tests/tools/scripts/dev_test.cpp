// tools/dev with scripts in the place of cmake, ctest and Debian's package tools.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>

#include "tests/tools/process.h"
#include "tests/tools/scratch_dir.h"

namespace lfm::test {
namespace {

namespace fs = std::filesystem;

std::string read_file(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

/// A tree with tools/dev and the presets, and the scripts first on the path. At first no package is installed.
class DevTest : public testing::Test {
protected:
    void SetUp() override {
        fs::create_directories(dir_.file("tree/tools"));
        for (const char* file : {"tools/dev", "tools/left_out_tests.py", "CMakePresets.json"})
            fs::copy_file(std::string(LFM_SOURCE_DIR "/") + file, dir_.file(std::string("tree/") + file));
        fs::create_directories(dir_.file("bin"));
        const std::string installed = dir_.file("installed"), log = dir_.file("log"), build = dir_.file("tree/build");
        script("dpkg-query", "format=$3; shift 3; for p in \"$@\"; do grep -qx \"$p\" " + installed +
                                 " || continue; case $format in *Version*) echo \"$p 1 installed\";; *) echo \"$p "
                                 "installed\";; esac; done");
        script("apt-get", "for p in \"$@\"; do echo \"$p\" >>" + installed + "; done");
        script("sudo", "exec \"$@\"");
        script("cmake", "echo \"cmake $*\" >>" + log + "; if [ \"$1\" = --preset ]; then mkdir -p " + build +
                            "; touch " + build + "/build.ninja; else mkdir -p " + build +
                            "/bin; printf '#!/bin/sh\\necho ran\\n' >" + build + "/bin/lfm-run; chmod +x " + build +
                            "/bin/lfm-run; fi");
        script("ctest", "echo ctest >>" + log + "; cp " + dir_.file("results.xml") + " " + build +
                            "/tests.xml; echo 'HIP backend: not built, no hipcc' >" + build + "/left_out.txt; exit " +
                            "$(cat " + dir_.file("ctest_code") + ")");
        std::ofstream(installed) << "";
        std::ofstream(dir_.file("ctest_code")) << "0";
        std::ofstream(dir_.file("results.xml")) << R"(<?xml version="1.0"?><testsuite>
            <testcase name="A.One" status="run"><system-out>fine</system-out></testcase>
            <testcase name="A.Two" status="fail"><failure/><system-out>x: Failure</system-out></testcase>
            <testcase name="Devices/B.One/sim" status="notrun"><skipped message="SKIP_REGULAR_EXPRESSION_MATCHED"/>
            <system-out>[ RUN ] B.One
/b.cpp:7: Skipped
no card here

[ SKIPPED ] B.One</system-out></testcase></testsuite>)";
    }

    Result dev(const std::string& arguments) const {
        return run({"/bin/bash", "-c",
                    "export PATH=" + dir_.file("bin") + ":$PATH; " + dir_.file("tree/tools/dev") + " " + arguments});
    }
    std::string log() const { return read_file(dir_.file("log")); }
    std::size_t n_configured() const {
        const std::string text = log();
        const std::regex configure("cmake --preset");
        return std::distance(std::sregex_iterator(text.begin(), text.end(), configure), {});
    }

    ScratchDir dir_;

private:
    void script(const std::string& name, const std::string& text) const {
        std::ofstream(dir_.file("bin/" + name)) << "#!/bin/bash\n" << text << "\n";
        fs::permissions(dir_.file("bin/" + name), fs::perms::owner_all);
    }
};

TEST_F(DevTest, RunBuildsEveryProgramThatTheReadmeNames) {
    const Result result = dev("run");
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(result.out, "ran\n");
    const std::string readme = read_file(LFM_SOURCE_DIR "/README.md"), built = log();
    const std::regex program("build/bin/(lfm-[a-z]+)");
    std::size_t n = 0;
    for (std::sregex_iterator at(readme.begin(), readme.end(), program), end; at != end; ++at, ++n)
        EXPECT_NE(built.find(" " + at->str(1)), std::string::npos) << at->str(1) << " is not in: " << built;
    EXPECT_GT(n, 5u);
}

TEST_F(DevTest, ConfiguresAnewWhenPackagesCame) {
    ASSERT_EQ(dev("run").code, 0);
    EXPECT_EQ(n_configured(), 1u);
    ASSERT_EQ(dev("run").code, 0);
    EXPECT_EQ(n_configured(), 1u) << "nothing is new";
    const Result tested = dev("test");
    EXPECT_EQ(tested.code, 0) << tested.err;
    EXPECT_EQ(n_configured(), 2u) << "the packages of tests came";
    ASSERT_EQ(dev("test").code, 0);
    EXPECT_EQ(n_configured(), 2u);
    std::ofstream(dir_.file("installed"), std::ios::trunc) << "g++\n";  // as if another had removed some
    ASSERT_EQ(dev("run").code, 0);
    EXPECT_EQ(n_configured(), 3u);
}

TEST_F(DevTest, ARunOfTheTestsEndsWithWhatWasLeftOut) {
    for (const char* code : {"0", "8"}) {
        std::ofstream(dir_.file("ctest_code")) << code;
        const Result result = dev("test");
        EXPECT_EQ(result.code, std::atoi(code)) << result.err;
        const std::string end = result.out.substr(std::min(result.out.find("tools/dev: 3 tests"), result.out.size()));
        EXPECT_EQ(end,
                  "tools/dev: 3 tests, of which 1 were skipped. LEFT OUT:\n"
                  "  HIP backend: not built, no hipcc\n"
                  "  1 of B: no card here\n")
            << result.out << result.err;
    }
}

}  // namespace
}  // namespace lfm::test
