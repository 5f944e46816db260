#include "backends/gpu/emulation/trespass.h"

#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdio>

#include <sched.h>
#include <sys/mman.h>
#include <ucontext.h>
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#include <sanitizer/common_interface_defs.h>
#endif

#include "backends/gpu/emulation/group_runner.h"

namespace lfm::gpu::emulation {

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

namespace {

constexpr std::size_t kHandlerStack = 64 << 10;

struct sigaction previous {};

// Rises by one when pages are hidden and again when they are shown: odd while they are hidden.
std::atomic<std::uint64_t> hiding{0};
constinit thread_local std::uint64_t waited_for = 0;

/// Waits until what is hidden is shown. False: nothing was hidden since this thread last waited, so it touched
/// something else.
bool waits_for_hidden() {
    std::uint64_t turn = hiding.load();
    if (turn == waited_for) return false;
    while (turn % 2 == 1) {
        ::sched_yield();
        turn = hiding.load();
    }
    waited_for = turn;
    return true;
}

/// Where the thread that was stopped goes on, on a stack that it no longer needs.
[[noreturn]] void go_on_after(const void* address) { GroupRunner::current()->end_by_trespass(address); }

void pass_on(int signal, siginfo_t* info, void* context) {
    if ((previous.sa_flags & SA_SIGINFO) != 0) return previous.sa_sigaction(signal, info, context);
    // The access happens again, and its signal then goes to the handler that was there before.
    ::sigaction(signal, &previous, nullptr);
}

void handle(int signal, siginfo_t* info, void* context) {
    const GroupRunner* const runner = GroupRunner::current();
    if ((runner == nullptr || !runner->is_early()) && waits_for_hidden()) return;
    std::byte* const stack_end = runner != nullptr ? runner->stack_end_of_running() : nullptr;
    if (stack_end == nullptr) return pass_on(signal, info, context);
    auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
    registers[REG_RIP] = reinterpret_cast<greg_t>(&go_on_after);
    registers[REG_RDI] = reinterpret_cast<greg_t>(info->si_addr);
    registers[REG_RSP] = reinterpret_cast<greg_t>(stack_end - 24);  // as if just called: 8 below a multiple of 16
}

void install() {
    struct sigaction action {};
    action.sa_sigaction = handle;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    ::sigaction(SIGSEGV, &action, &previous);
}

}  // namespace

void hide_pages(const std::vector<std::span<std::byte>>& pages) {
    ++hiding;
    for (const std::span<std::byte> each : pages) ::mprotect(each.data(), each.size(), PROT_NONE);
}

void show_pages(const std::vector<std::span<std::byte>>& pages) {
    for (const std::span<std::byte> each : pages) ::mprotect(each.data(), each.size(), PROT_READ | PROT_WRITE);
    ++hiding;
}

TrespassWatch::TrespassWatch() : stack_(std::make_unique<std::byte[]>(kHandlerStack)) {
    static const bool installed = (install(), true);  // a signal has one handler in a process
    static_cast<void>(installed);
    const stack_t stack{.ss_sp = stack_.get(), .ss_flags = 0, .ss_size = kHandlerStack};
    ::sigaltstack(&stack, nullptr);
}

TrespassWatch::~TrespassWatch() {
    const stack_t none{.ss_sp = nullptr, .ss_flags = SS_DISABLE, .ss_size = 0};
    ::sigaltstack(&none, nullptr);
}

#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)

namespace {

void tell_who_runs() {
    const GroupRunner* const runner = GroupRunner::current();
    if (runner != nullptr && runner->stack_end_of_running() != nullptr)
        std::fprintf(stderr, "GPU emulation: it was %s\n", runner->who_runs().c_str());
}

}  // namespace

void hide_pages(const std::vector<std::span<std::byte>>&) {}
void show_pages(const std::vector<std::span<std::byte>>&) {}

TrespassWatch::TrespassWatch() { __sanitizer_set_death_callback(tell_who_runs); }
TrespassWatch::~TrespassWatch() = default;

#else

void hide_pages(const std::vector<std::span<std::byte>>&) {}
void show_pages(const std::vector<std::span<std::byte>>&) {}

TrespassWatch::TrespassWatch() = default;
TrespassWatch::~TrespassWatch() = default;

#endif

}  // namespace lfm::gpu::emulation
