// Keeps the process alive when a page of a mapped file cannot be read, because the file is shorter now or the disk
// fails.
//
// Touching such a page raises SIGBUS. A handler then puts zeros in the place of everything that is lost, notes where,
// and lets the instruction go on. Whoever computed with the mapping asks the guard before the result counts.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

namespace lfm {

struct GuardedRange;  // an entry of the table that the handler reads

class PageGuard {
public:
    PageGuard() = default;
    /// Guards the mapping of the whole file that `descriptor` has open; both outlive the guard. The first guard of a
    /// process installs the handler, for good; faults elsewhere go to the handler that was there before.
    /// Throws Error{kIo} when the system refuses.
    PageGuard(std::span<const std::byte> mapping, int descriptor);
    PageGuard(PageGuard&& other) noexcept;
    PageGuard& operator=(PageGuard&& other) noexcept;
    ~PageGuard();

    /// The lowest place where reading failed, in bytes from the beginning; nothing: it never did. Any thread may ask.
    std::optional<std::size_t> lost_offset() const;

private:
    GuardedRange* range_ = nullptr;
};

}  // namespace lfm
