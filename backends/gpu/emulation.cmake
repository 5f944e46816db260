# lfm_gpu_emulated32 and lfm_gpu_emulated64: the backend on the CPU, for tests. Needs Boost.Context (Debian:
# libboost-context-dev).
if(NOT BUILD_TESTING)
  return()
endif()
find_package(Boost COMPONENTS context)
if(NOT Boost_CONTEXT_FOUND)
  message(STATUS "GPU emulation: not built, it needs Boost.Context (Debian: libboost-context-dev)")
  return()
endif()

file(GLOB emulation_sources CONFIGURE_DEPENDS emulation/*.cpp)
set_source_files_properties(${gpu_kernels} PROPERTIES LANGUAGE CXX)
foreach(warp 32 64)
  set(name lfm_gpu_emulated${warp})
  add_library(${name} STATIC ${gpu_sources} ${gpu_kernels} ${emulation_sources})
  target_compile_definitions(${name} PUBLIC LFM_EMULATED_WARP=${warp})
  target_link_libraries(${name} PUBLIC lfm_devices Boost::context PRIVATE Threads::Threads)
endforeach()
