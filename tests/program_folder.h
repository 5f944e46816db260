// Where the running test lies: programs are beside it, and what they ship with in ../share, so that a built tree may be
// carried elsewhere.
#pragma once

#include <filesystem>

namespace lfm::test {

inline std::filesystem::path program_folder() { return std::filesystem::read_symlink("/proc/self/exe").parent_path(); }
inline std::filesystem::path profiles_folder() { return program_folder().parent_path() / "share/lfm/profiles"; }

}  // namespace lfm::test
