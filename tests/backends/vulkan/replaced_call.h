// A Vulkan function replaced while this lives, to count calls or to make them fail.
#pragma once

#include <volk.h>

#include <utility>

namespace lfm::test {

template <typename Function>
class ReplacedCall {
public:
    ReplacedCall(Function& function, Function other) : function_(function), real_(std::exchange(function, other)) {}
    ReplacedCall(const ReplacedCall&) = delete;
    ReplacedCall& operator=(const ReplacedCall&) = delete;
    ~ReplacedCall() { function_ = real_; }

    Function real() const { return real_; }

private:
    Function& function_;
    Function real_;
};

}  // namespace lfm::test
