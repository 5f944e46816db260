#include "memory/output_file.h"

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory/error.h"

namespace lfm {
namespace {

std::string descriptor_path(int descriptor) { return "/proc/self/fd/" + std::to_string(descriptor); }

std::optional<FileIdentity> identity_of(int descriptor) {
    struct stat status {};
    if (::fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
    return FileIdentity{status.st_dev, status.st_ino};
}

/// Where a path leads once links are followed: a name in a folder that is there, or one of the process's descriptors.
struct Destination {
    std::string folder, name;
    std::optional<int> descriptor;
    std::string path() const { return folder == "/" ? folder + name : folder + "/" + name; }
};

/// "/a/b" from "/a/x/../b": every folder on the way is there, the last name need not be. errno says what is wrong.
std::optional<Destination> follow(std::string path) {
    constexpr int kMostLinks = 40;  // as many as Linux follows
    for (int i = 0; i < kMostLinks; ++i) {
        if (path.empty()) return errno = ENOENT, std::nullopt;
        const std::size_t slash = path.rfind('/');
        const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
        const std::string folder = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
        const std::unique_ptr<char, void (*)(void*)> real(::realpath(folder.c_str(), nullptr), std::free);
        if (!real) return std::nullopt;
        struct stat status {};
        if (::stat(real.get(), &status) != 0) return std::nullopt;
        if (!S_ISDIR(status.st_mode)) return errno = ENOTDIR, std::nullopt;
        if (name.empty() || name == "." || name == "..") return errno = EISDIR, std::nullopt;
        Destination found{real.get(), name, std::nullopt};
        if (found.folder == "/proc/" + std::to_string(::getpid()) + "/fd" &&
            name.find_first_not_of("0123456789") == std::string::npos && name.size() < 6) {
            found.descriptor = std::atoi(name.c_str());
            return found;
        }
        char target[PATH_MAX];
        const ssize_t n = ::readlink(found.path().c_str(), target, sizeof target);
        if (n < 0) {
            if (errno == EINVAL || errno == ENOENT) return found;  // no link, or nothing yet
            return std::nullopt;
        }
        const std::string link(target, static_cast<std::size_t>(n));
        path = link.starts_with('/') ? link : found.folder + "/" + link;
    }
    return errno = ELOOP, std::nullopt;
}

/// Calls `take` with new names in `folder` until it has taken one. Nothing, with errno, when it cannot.
template <typename Take>
std::optional<std::string> take_new_name(const std::string& folder, const Take& take) {
    constexpr int kMostTries = 1000;
    std::random_device random;
    for (int i = 0; i < kMostTries; ++i) {
        char name[32];
        std::snprintf(name, sizeof name, "/.lfm-%08x.tmp", random());
        if (take((folder + name).c_str())) return folder + name;
        if (errno != EEXIST) break;
    }
    return std::nullopt;
}

}  // namespace

std::optional<FileIdentity> file_identity(const std::string& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
    return FileIdentity{status.st_dev, status.st_ino};
}

OutputFile::OutputFile(std::string path, std::span<const std::string> inputs) : path_(std::move(path)) {
    try {
        open_target(inputs);
    } catch (...) {
        close();
        throw;
    }
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)),
      folder_(std::move(other.folder_)),
      target_(std::move(other.target_)),
      temporary_(std::exchange(other.temporary_, {})),
      old_(other.old_),
      kind_(other.kind_),
      descriptor_(std::exchange(other.descriptor_, -1)),
      written_(other.written_) {}

OutputFile::~OutputFile() { close(); }

void OutputFile::close() noexcept {
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = -1;
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
    temporary_.clear();
}

void OutputFile::fail(int reason) const { throw Error(ErrorCode::kIo, path_, std::strerror(reason)); }

void OutputFile::open_target(std::span<const std::string> inputs) {
    const auto found = follow(path_ == "-" ? descriptor_path(STDOUT_FILENO) : path_);
    if (!found) fail(errno);
    folder_ = found->folder;
    target_ = found->path();
    struct stat status {};
    const bool exists = ::stat(target_.c_str(), &status) == 0;
    if (!exists && errno != ENOENT) fail(errno);
    if (exists && S_ISDIR(status.st_mode)) fail(EISDIR);
    if (exists && S_ISREG(status.st_mode)) old_ = FileIdentity{status.st_dev, status.st_ino};
    for (const std::string& input : inputs)
        if (old_ && old_ == file_identity(input))
            throw Error(ErrorCode::kUsage, path_, "expected another file than " + input + ", which is read");
    if (old_ && old_ == identity_of(STDIN_FILENO))
        throw Error(ErrorCode::kUsage, path_, "expected another file than standard input, which is read");
    std::optional<int> own = found->descriptor;
    for (const int standard : {STDOUT_FILENO, STDERR_FILENO})
        if (!own && old_ && old_ == identity_of(standard)) own = standard;
    if (own) {
        kind_ = Kind::kOpened;
        descriptor_ = ::fcntl(*own, F_DUPFD_CLOEXEC, 3);
        if (descriptor_ < 0) fail(errno);
        if (const int mode = ::fcntl(descriptor_, F_GETFL); (mode & O_ACCMODE) == O_RDONLY) fail(EACCES);
        return;
    }
    if (exists && ::faccessat(AT_FDCWD, target_.c_str(), W_OK, AT_EACCESS) != 0) fail(errno);
    if (exists && S_ISFIFO(status.st_mode)) {
        kind_ = Kind::kPipe;
        return;
    }
    if (!exists || S_ISREG(status.st_mode)) return make_temporary();
    kind_ = Kind::kOpened;
    descriptor_ = ::open(target_.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY);
    if (descriptor_ < 0) fail(errno);
    // A device that takes nothing says so at once.
    if (S_ISCHR(status.st_mode) && ::write(descriptor_, "", 0) < 0 && errno == ENOSPC) fail(errno);
}

void OutputFile::make_temporary() {
    kind_ = Kind::kReplaced;
    static constexpr mode_t kMode = 0666;  // less the umask, as for any file
    // Without a name until it is whole.
    descriptor_ = ::open(folder_.c_str(), O_WRONLY | O_TMPFILE | O_CLOEXEC, kMode);
    if (descriptor_ >= 0 && ::access(descriptor_path(descriptor_).c_str(), F_OK) != 0) {
        // It would get no name without /proc.
        ::close(descriptor_);
        descriptor_ = -1;
        errno = EOPNOTSUPP;
    }
    if (descriptor_ < 0) {
        if (errno == EACCES || errno == EROFS || errno == ENOSPC || errno == EDQUOT || errno == EPERM) fail(errno);
        const auto name = take_new_name(folder_, [this](const char* free) {
            descriptor_ = ::open(free, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kMode);
            return descriptor_ >= 0;
        });
        if (!name) fail(errno);
        temporary_ = *name;
    }
    copy_mode();
}

/// Gives the new file the mode of the old one, and its owner where this process may set it.
void OutputFile::copy_mode() {
    struct stat status {};
    struct stat ours {};
    if (!old_ || ::stat(target_.c_str(), &status) != 0 || ::fstat(descriptor_, &ours) != 0) return;
    if (status.st_uid != ours.st_uid || status.st_gid != ours.st_gid) {
        if (::fchown(descriptor_, status.st_uid, status.st_gid) != 0) errno = 0;  // only root gives files away
    }
    if (::fchmod(descriptor_, status.st_mode & 07777) != 0) fail(errno);
}

void OutputFile::reserve(Bytes size) {
    if (kind_ != Kind::kReplaced || size.value == 0) return;
    if (size.value > static_cast<std::uint64_t>(INT64_MAX)) fail(EFBIG);
    // A file system that cannot reserve says so; the file is then written without.
    if (::fallocate(descriptor_, 0, 0, static_cast<off_t>(size.value)) != 0 && errno != EOPNOTSUPP && errno != ENOSYS &&
        errno != EINTR)
        throw Error(ErrorCode::kIo, path_, "cannot write " + format_bytes(size) + ": " + std::strerror(errno));
}

void OutputFile::write(std::string_view bytes) {
    if (kind_ == Kind::kPipe) {
        do descriptor_ = ::open(target_.c_str(), O_WRONLY | O_CLOEXEC);
        while (descriptor_ < 0 && errno == EINTR);
        if (descriptor_ < 0) fail(errno);
        kind_ = Kind::kOpened;
    }
    while (!bytes.empty()) {
        const ssize_t n = ::write(descriptor_, bytes.data(), bytes.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) fail(errno);
        bytes.remove_prefix(static_cast<std::size_t>(n));
        written_ += static_cast<std::uint64_t>(n);
    }
}

void OutputFile::keep() {
    if (kind_ == Kind::kPipe) write({});  // a reader that waits sees the end
    const bool replaces = kind_ == Kind::kReplaced;
    if (replaces && ::ftruncate(descriptor_, static_cast<off_t>(written_)) != 0) fail(errno);  // reserved, not needed
    // Pipes and devices have nothing to sync.
    if (::fsync(descriptor_) != 0 && errno != EINVAL && errno != EROFS && errno != ENOTSUP) fail(errno);
    if (replaces && temporary_.empty()) {
        const std::string from = descriptor_path(descriptor_);
        const auto name = take_new_name(folder_, [&](const char* free) {
            return ::linkat(AT_FDCWD, from.c_str(), AT_FDCWD, free, AT_SYMLINK_FOLLOW) == 0;
        });
        if (!name) fail(errno);
        temporary_ = *name;
    }
    if (const int descriptor = std::exchange(descriptor_, -1); ::close(descriptor) != 0) fail(errno);
    if (!replaces) return;
    if (std::rename(temporary_.c_str(), target_.c_str()) != 0) fail(errno);
    temporary_.clear();
}

void OutputFile::require_other_than(const OutputFile& other) const {
    const bool same_name = kind_ == Kind::kReplaced && other.kind_ == Kind::kReplaced && target_ == other.target_;
    if (same_name || (old_ && old_ == other.old_))
        throw Error(ErrorCode::kUsage, path_, "expected another file than " + other.path_ + ", which is written too");
}

void write_file(const std::string& path, std::string_view content) {
    OutputFile file(path);
    file.write(content);
    file.keep();
}

}  // namespace lfm
