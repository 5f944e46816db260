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

    /// `from` is the fiber that runs now. Returns when another one switches back to it.
    static void switch_over(Fiber& from, Fiber& to);
    /// The end of its stack's memory, where the stack begins, as stacks grow down. Null: not a stack of ours.
    std::byte* stack_end() const;
    /// Whether the address lies in the page below its stack.
    bool overflows_at(const void* address) const;
    /// Begins with `work` again; what it was doing is dropped without running destructors.
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
