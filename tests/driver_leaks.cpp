// What the leak check of AddressSanitizer is to overlook: a Vulkan driver's and the validation layer's own memory,
// which they keep until the process ends.
#include <initializer_list>

#include <dlfcn.h>

// It is asked for by this name.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() {
    return "leak:libVkLayer_khronos_validation\nleak:libvulkan_lvp\nleak:libLLVM\n";
}

#if defined(__SANITIZE_ADDRESS__)
namespace {

/// Libraries that are gone at the end would have no name to be overlooked by.
[[maybe_unused]] const bool kept = [] {
    for (const char* library : {"libVkLayer_khronos_validation.so", "libvulkan_lvp.so"})
        dlopen(library, RTLD_LAZY | RTLD_NODELETE);
    return true;
}();

}  // namespace
#endif
