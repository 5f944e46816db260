// A stack, and where the work on it stopped. Sanitizers are told of each switch.
#pragma once

#include <cstddef>

namespace lfm::gpu::emulation {

class Fiber {
public:
    /// What the calling operating-system thread runs on anyway.
    Fiber();
    /// Runs `work` on a stack of its own when first switched to. `work` never returns.
    explicit Fiber(void (*work)());
    ~Fiber();
    Fiber(const Fiber&) = delete;
    Fiber& operator=(const Fiber&) = delete;

    /// From the fiber that runs now. Comes back when another switches to `from`.
    static void switch_over(Fiber& from, Fiber& to);
    /// Where its stack begins, as stacks grow down. None: not a stack of ours.
    std::byte* stack_end() const;
    /// Whether the address lies in the page below its stack.
    bool overflows_at(const void* address) const;
    /// Begins with `work` again; what it was doing is forgotten, destructors and all.
    void restart();

private:
    struct Switch;
    struct Hooks;

    void (*work_)() = nullptr;
    void* context_ = nullptr;  // of Boost.Context, while another runs
    std::byte* mapped_ = nullptr;
    // For sanitizers.
    const void* stack_ = nullptr;  // its lowest address
    std::size_t stack_size_ = 0;
    void* fake_stack_ = nullptr;
    void* tsan_ = nullptr;
};

}  // namespace lfm::gpu::emulation
