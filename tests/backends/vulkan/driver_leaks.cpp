// What the leak check of AddressSanitizer is to overlook: the driver's and the layer's own, which they keep until the
// process ends. It is asked for by this name.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() {
    return "leak:libVkLayer_khronos_validation\nleak:libvulkan_lvp\nleak:libLLVM\n";
}
