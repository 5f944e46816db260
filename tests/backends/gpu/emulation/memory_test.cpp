// Memory that kernels must not touch, and what is refused, counted and pinned.
#include <array>
#include <cstring>
#include <memory>
#include <span>

#include <gtest/gtest.h>

#include "backends/gpu/platform/kernel.h"
#include "backends/gpu/platform/loads.h"
#include "tests/backends/gpu/emulation/machine_test.h"

namespace lfm::gpu::test {

namespace {

struct Push {
    std::uint8_t* memory;
    std::ptrdiff_t offset;
};
struct Shared {
    std::uint8_t bytes[100];
};

// Only the last thread does it, so that reports name it.
void read(Push push) {
    if (thread_index() == 63 && push.memory[push.offset] == 1) push.memory[0] = 1;
}
void write(Push push) {
    if (thread_index() == 63) push.memory[push.offset] = 1;
}
void write_shared(Push push) {
    std::uint8_t* bytes = shared_memory<Shared>().bytes;
    if (thread_index() == 63) bytes[push.offset] = 1;
}
void read_shared(Push push) {
    const std::uint8_t* bytes = shared_memory<Shared>().bytes;
    if (thread_index() == 63 && bytes[push.offset] == 1) push.memory[0] = 1;
}

void read_four_words(Push push) {
    if (thread_index() != 63) return;
    const Words4 words = load<Words4>(reinterpret_cast<const std::byte*>(push.memory + push.offset));
    if (words.at[0] == 1) push.memory[0] = 1;
}

std::uint32_t use_stack(std::uint32_t depth) {
    volatile std::uint32_t frame[64] = {};
    frame[depth % 64] = depth;
    return depth == 0 ? 0 : use_stack(depth - 1) + frame[depth % 64];
}
void use_up_stack(Push push) { push.memory[0] = static_cast<std::uint8_t>(use_stack(1 << 20)); }

}  // namespace

class MemoryTest : public MachineTest {
protected:
    MemoryTest() { testing::FLAGS_gtest_death_test_style = "threadsafe"; }  // streams are threads

    /// Sanitizers end the process; without them the device is lost.
    template <typename Shared = void>
    void expect_trespass(void (*kernel)(Push), const Push& push, const char* what) {
        if (kHasSanitizer) {
            EXPECT_DEATH(run<Shared>(kernel, 64, push), "kernel planted, group \\(0, 0, 0\\), thread 63");
            return;
        }
        EXPECT_EQ(run<Shared>(kernel, 64, push), Status::kIllegalAddress);
        expect_only_report({"kernel planted, group (0, 0, 0), thread 63: expected memory, found ", what});
        emulation::reset_machine();
    }
};

TEST_F(MemoryTest, KernelsKeepToAllocations) {
    const DeviceArray<std::uint8_t> memory(512);
    EXPECT_EQ(run(read, 64, {memory.data(), 511}), Status::kSuccess);
    expect_trespass(read, {memory.data(), 512}, "0 bytes after the end of an allocation of 512");
    expect_trespass(write, {memory.data(), 512}, "0 bytes after the end of an allocation of 512");
    if (kHasAddressSanitizer)
        expect_trespass(read, {memory.data(), -1}, "");
    else
        expect_trespass(read, {memory.data(), -60000}, "bytes before an allocation of 512");
}

TEST_F(MemoryTest, KernelsKeepOffReleasedMemory) {
    std::uint8_t* released = nullptr;
    {
        const DeviceArray<std::uint8_t> memory(512);
        released = memory.data();
    }
    expect_trespass(read, {released, 0}, "memory that was released");
    std::array<std::uint8_t, 16> host;
    if (!kHasAddressSanitizer) {  // with it the block is freed, and the emulation does not know its address any more
        EXPECT_EQ(api::copy(host.data(), released, 16, stream()), Status::kInvalidValue);
        expect_only_report({"copy, its source: expected memory that is allocated, found some that was released"});
    }
}

TEST_F(MemoryTest, ThereIsNothingAtZero) { expect_trespass(read, {nullptr, 16}, "an address where nothing is"); }

TEST_F(MemoryTest, WritesBetweenTheEndAndTheNextPageAreFoundLater) {
    if (kHasAddressSanitizer) GTEST_SKIP() << "AddressSanitizer finds them at once";
    void* memory = nullptr;
    for (const std::ptrdiff_t offset : {std::ptrdiff_t{-1}, std::ptrdiff_t{500}}) {
        ASSERT_EQ(api::allocate(&memory, 500), Status::kSuccess);
        EXPECT_EQ(run(write, 64, {static_cast<std::uint8_t*>(memory), offset}), Status::kSuccess);
        EXPECT_EQ(api::release(memory), Status::kIllegalAddress);
        expect_only_report({"release of 500 bytes: expected no writing beside the allocation, found some"});
        emulation::reset_machine();
    }
}

TEST_F(MemoryTest, KernelsKeepToSharedMemory) {
    const DeviceArray<std::uint8_t> memory(1);
    EXPECT_EQ(run<Shared>(write_shared, 64, {memory.data(), 99}), Status::kSuccess);
    // 100 bytes are 112 when aligned.
    expect_trespass<Shared>(read_shared, {memory.data(), 112}, "an address beside its shared memory");
    expect_trespass<Shared>(write_shared, {memory.data(), 112}, "an address beside its shared memory");
    if (kHasAddressSanitizer) {
        expect_trespass<Shared>(read_shared, {memory.data(), 100}, "");
        return;
    }
    EXPECT_EQ(run<Shared>(write_shared, 64, {memory.data(), 100}), Status::kLaunchFailure);
    expect_only_report({"expected no writing beside its shared memory, found some"});
}

TEST_F(MemoryTest, LoadsAreOfMultiplesOfTheirSize) {
    const DeviceArray<std::uint8_t> memory(64);
    EXPECT_EQ(run(read_four_words, 64, {memory.data(), 16}), Status::kSuccess);
    EXPECT_EQ(run(read_four_words, 64, {memory.data(), 40}), Status::kLaunchFailure);
    expect_only_report(
        {"thread 63: expected a load of 16 bytes from a multiple of its size, found an address 8 behind"});
}

TEST_F(MemoryTest, StacksEnd) {
    if (kHasSanitizer) GTEST_SKIP() << "a sanitizer ends the process";
    const DeviceArray<std::uint8_t> memory(1);
    EXPECT_EQ(run(use_up_stack, 64, {memory.data(), 0}), Status::kIllegalAddress);
    expect_only_report({"thread 0: expected memory, found a stack that is used up"});
}

TEST_F(MemoryTest, NewMemoryIsNotZero) {
    const DeviceArray<std::uint8_t> memory(1000);
    EXPECT_EQ(memory.values(), std::vector<std::uint8_t>(1000, 0xff));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.data()) % 256, 0u);
}

TEST_F(MemoryTest, CopiesKeepToAllocations) {
    const DeviceArray<std::uint8_t> memory(300);
    std::array<std::uint8_t, 400> host{};
    EXPECT_EQ(api::copy(memory.data(), host.data(), 300, stream()), Status::kSuccess);
    EXPECT_EQ(api::synchronize_stream(stream()), Status::kSuccess);
    EXPECT_EQ(api::copy(memory.data() + 1, host.data(), 300, stream()), Status::kInvalidValue);
    expect_only_report({"copy, its target: expected bytes within an allocation of 300, found 300 from 1 on"});
    EXPECT_EQ(api::copy(host.data(), memory.data() + 200, 101, stream()), Status::kInvalidValue);
    expect_only_report({"copy, its source: expected bytes within an allocation of 300, found 101 from 200 on"});
    EXPECT_EQ(api::copy(host.data(), nullptr, 1, stream()), Status::kInvalidValue);
    expect_only_report({"copy, its source: expected memory, found none"});
}

TEST_F(MemoryTest, TheDeviceIsAsLargeAsTold) {
    emulation::reset_machine({.memory = 1 << 20});
    std::size_t free = 0, total = 0;
    void *half = nullptr, *more = nullptr;
    ASSERT_EQ(api::allocate(&half, 512 << 10), Status::kSuccess);
    EXPECT_EQ(api::memory_info(&free, &total), Status::kSuccess);
    EXPECT_EQ(free, 512u << 10);
    EXPECT_EQ(total, 1u << 20);
    EXPECT_EQ(api::allocate(&more, (512 << 10) + 1), Status::kOutOfMemory);
    EXPECT_EQ(more, nullptr);
    EXPECT_EQ(api::allocate(&more, ~std::size_t{0}), Status::kOutOfMemory);
    ASSERT_EQ(api::allocate_pinned(&more, 2 << 20), Status::kSuccess) << "that is RAM";
    EXPECT_EQ(api::release_pinned(more), Status::kSuccess);
    EXPECT_EQ(api::release(half), Status::kSuccess);
    EXPECT_EQ(api::memory_info(&free, &total), Status::kSuccess);
    EXPECT_EQ(free, total);
}

TEST_F(MemoryTest, MemoryIsReleasedAsItWasAllocated) {
    void *memory = nullptr, *pinned = nullptr;
    ASSERT_EQ(api::allocate(&memory, 100), Status::kSuccess);
    ASSERT_EQ(api::allocate_pinned(&pinned, 100), Status::kSuccess);
    EXPECT_EQ(api::release(pinned), Status::kInvalidValue);
    EXPECT_EQ(api::release_pinned(memory), Status::kInvalidValue);
    EXPECT_EQ(api::release(memory), Status::kSuccess);
    EXPECT_EQ(api::release(memory), Status::kInvalidValue);
    EXPECT_EQ(api::release_pinned(pinned), Status::kSuccess);
    EXPECT_EQ(api::release(nullptr), Status::kSuccess);
    EXPECT_EQ(emulation::take_reports().size(), 3u);
}

TEST_F(MemoryTest, TheDeviceReachesPinnedMemoryAlone) {
    std::array<std::byte, 192> around;
    const std::span host = std::span(around).subspan(64, 64);
    void *address = nullptr, *pinned = nullptr, *memory = nullptr;
    EXPECT_EQ(api::device_address(&address, host.data()), Status::kInvalidValue);
    EXPECT_EQ(api::pin(host.data(), host.size(), false), Status::kSuccess);
    EXPECT_EQ(api::device_address(&address, host.data() + 63), Status::kSuccess);
    EXPECT_EQ(address, host.data() + 63);
    EXPECT_EQ(api::pin(host.data() + 32, 64, false), Status::kHostMemoryAlreadyRegistered);
    EXPECT_EQ(api::pin(host.data() - 32, 33, false), Status::kHostMemoryAlreadyRegistered);
    EXPECT_EQ(api::unpin(host.data() + 1), Status::kHostMemoryNotRegistered);
    EXPECT_EQ(api::unpin(host.data()), Status::kSuccess);
    EXPECT_EQ(api::device_address(&address, host.data()), Status::kInvalidValue);

    ASSERT_EQ(api::allocate_pinned(&pinned, 8), Status::kSuccess);
    EXPECT_EQ(api::device_address(&address, pinned), Status::kSuccess);
    EXPECT_EQ(address, pinned);
    EXPECT_EQ(api::release_pinned(pinned), Status::kSuccess);
    ASSERT_EQ(api::allocate(&memory, 8), Status::kSuccess);
    EXPECT_EQ(api::device_address(&address, memory), Status::kInvalidValue);
    EXPECT_EQ(api::release(memory), Status::kSuccess);
}

TEST_F(MemoryTest, AllocationsAreRefusedOnDemand) {
    emulation::set_faults({.refuse_allocation = 2});
    std::array<void*, 4> memory{};
    EXPECT_EQ(api::allocate(&memory[0], 10), Status::kSuccess);
    EXPECT_EQ(api::allocate_pinned(&memory[1], 10), Status::kOutOfMemory);
    EXPECT_EQ(api::allocate(&memory[1], 10), Status::kSuccess);
    emulation::set_faults({.refuse_allocation = 4, .refusal = emulation::Recurrence::kForGood});
    EXPECT_EQ(api::allocate(&memory[2], 10), Status::kOutOfMemory);
    EXPECT_EQ(api::allocate(&memory[2], 10), Status::kOutOfMemory);
    EXPECT_EQ(emulation::counts().allocations, 5u);
    for (void* each : memory) EXPECT_EQ(api::release(each), Status::kSuccess);
}

TEST_F(MemoryTest, PinsAreRefusedOnDemand) {
    emulation::set_faults({.refuse_pin = 1});
    std::array<std::byte, 64> host;
    EXPECT_EQ(api::pin(host.data(), host.size(), false), Status::kNotSupported);
    EXPECT_EQ(api::pin(host.data(), host.size(), false), Status::kSuccess);
    EXPECT_EQ(api::unpin(host.data()), Status::kSuccess);
}

}  // namespace lfm::gpu::test
