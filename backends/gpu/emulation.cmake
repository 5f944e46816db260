# lfm_gpu_emulated32 and lfm_gpu_emulated64: the backend on the CPU, for tests; and the same as modules. Needs
# Boost.Context (Debian: libboost-context-dev).
if(NOT BUILD_TESTING)
  return()
endif()
find_package(Boost COMPONENTS context)
if(NOT Boost_CONTEXT_FOUND)
  lfm_leave_out("GPU emulation" "not built, it needs Boost.Context (Debian: libboost-context-dev)")
  return()
endif()

file(GLOB emulation_sources CONFIGURE_DEPENDS emulation/*.cpp)
# "#pragma unroll" is for the vendors' compilers.
set_source_files_properties(${gpu_kernels} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS -Wno-unknown-pragmas)
if(LFM_SANITIZE MATCHES thread)
  # What these do between threads is not the kernel's.
  set_source_files_properties(emulation/copies.cpp emulation/fiber.cpp emulation/group_runner.cpp emulation/threads.cpp PROPERTIES
    COMPILE_OPTIONS -fno-sanitize=thread COMPILE_DEFINITIONS LFM_EMULATION_TSAN)
endif()
foreach(warp 32 64)
  # Threads and runtime alone, which have tests of their own; and with the backend.
  add_library(lfm_gpu_emulation${warp} STATIC ${emulation_sources})
  target_compile_definitions(lfm_gpu_emulation${warp} PUBLIC LFM_EMULATED_WARP=${warp})
  target_link_libraries(lfm_gpu_emulation${warp} PUBLIC lfm_memory PRIVATE Boost::context Threads::Threads)
  set(name lfm_gpu_emulated${warp})
  add_library(${name} STATIC ${gpu_sources} ${gpu_kernels})
  target_link_libraries(${name} PUBLIC lfm_devices lfm_gpu_emulation${warp} PRIVATE Threads::Threads)
  set_target_properties(${name} lfm_gpu_emulation${warp} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  add_library(lfm-emulated${warp} MODULE module.cpp)
  set_target_properties(lfm-emulated${warp} PROPERTIES PREFIX "" CXX_VISIBILITY_PRESET hidden)
  target_link_libraries(lfm-emulated${warp} PRIVATE ${name})
endforeach()
