// Any bytes as a model file: parsed or refused with lfm::Error.
// Links: memory/*.cpp
#include <cstddef>
#include <cstdint>
#include <span>

#include "memory/error.h"
#include "memory/gguf.h"
#include "tests/gguf_walk.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    try {
        lfm::test::walk(lfm::GgufFile::parse(std::as_bytes(std::span(data, size)), "fuzz"));
    } catch (const lfm::Error&) {
    }
    return 0;
}
