// What AddressSanitizer's leak check must overlook: memory that a Vulkan driver and the validation layer keep until the
// process ends.
#include <initializer_list>

#include <dlfcn.h>

// The leak check calls a function of this name.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() {
    return "leak:libVkLayer_khronos_validation\nleak:libvulkan_lvp\nleak:libLLVM\n";
}

#if defined(__SANITIZE_ADDRESS__)
namespace {

/// Keeps the libraries loaded: leaks of an unloaded one would have no name for a suppression to match.
[[maybe_unused]] const bool kept = [] {
    for (const char* library : {"libVkLayer_khronos_validation.so", "libvulkan_lvp.so"})
        dlopen(library, RTLD_LAZY | RTLD_NODELETE);
    return true;
}();

}  // namespace
#endif
