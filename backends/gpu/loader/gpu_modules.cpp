#include "backends/gpu/loader/gpu_modules.h"

#include <dlfcn.h>

#include <filesystem>
#include <map>
#include <mutex>

#include "memory/dtype.h"

namespace lfm::gpu {
namespace {

/// Of liblfm_memory.so, which the program and its modules share.
std::filesystem::path library_folder() {
    Dl_info info{};
    const auto* const of_library = reinterpret_cast<const void*>(&dtype_from_id);
    if (dladdr(of_library, &info) == 0 || info.dli_fname == nullptr) return {};
    std::error_code ignored;
    return std::filesystem::weakly_canonical(info.dli_fname, ignored).parent_path();
}

FoundModule load(const std::string& backend) {
    const std::filesystem::path file = library_folder() / ("lfm-" + backend + ".so");
    std::error_code ignored;
    if (!std::filesystem::exists(file, ignored)) return {nullptr, "not built in"};
    void* const library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return {nullptr, dlerror()};
    const auto entry = reinterpret_cast<ModuleEntry>(dlsym(library, kModuleEntry));
    const Module* const module = entry != nullptr ? entry() : nullptr;
    if (module == nullptr || module->version != Module::kVersion || module->backend != backend)
        return {nullptr, file.string() + ": expected a module of this build, found another"};
    return {module, {}};
}

}  // namespace

const FoundModule& find_module(const std::string& backend) {
    static std::mutex mutex;
    static std::map<std::string, FoundModule> found;
    const std::lock_guard lock(mutex);
    const auto known = found.find(backend);
    return known != found.end() ? known->second : found.emplace(backend, load(backend)).first->second;
}

}  // namespace lfm::gpu
