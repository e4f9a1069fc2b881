// Scratch memory of a call: a slot for each thread that takes part in it.
#pragma once

#include "parallel.hpp"

#include "pages.hpp"

namespace lossk {

// All slots are there before the call writes anything, and end with it: small ones are the calling thread's and used by
// its next call, large ones are pages, which the system may have back.
class scratch {
    pages own_{};
    char* first_;
    std::size_t stride_;

public:
    explicit scratch(std::size_t bytes, int threads = 1);
    ~scratch() {
        if (own_.start) give_back(own_);
    }
    scratch(const scratch&) = delete;
    scratch& operator=(const scratch&) = delete;

    // 64-byte aligned, of undefined content.
    void* of_this_worker() const { return first_ + static_cast<std::size_t>(worker()) * stride_; }
};

}  // namespace lossk
