// Copies that a kernel's thread has started and not waited for (platform/copies.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace lfm::gpu::emulation {

/// Of the threads of a group.
class CopiesUnderWay {
public:
    explicit CopiesUnderWay(std::uint32_t most_threads);

    /// The place holds 0xff bytes until finish().
    void start(std::uint32_t thread, void* to, const void* from, std::size_t size);
    void finish(std::uint32_t thread);
    /// The first thread that has not waited for what it started, else `most_threads`.
    std::uint32_t first_unfinished() const;
    void forget();

private:
    struct Copy {
        void* to;
        const void* from;
        std::size_t size;
    };
    std::vector<std::vector<Copy>> of_thread_;
    std::size_t n_ = 0;  // of all threads
};

// For the running thread.
void start_copy(void* to, const void* from, std::size_t size);
void finish_copies();

}  // namespace lfm::gpu::emulation
