// Scratch memory of a call: a slot for each thread that takes part in it.
#pragma once

#include <memory>
#include <new>

#include "pages.hpp"
#include "parallel.hpp"

namespace lossk {

// All slots are there before the call writes anything, and end with it: small ones go to the calling thread's next
// call, large ones are pages, which the system may have back. A signal's handler may make a call while another one
// runs: it has memory of its own.
class scratch {
public:
    static constexpr std::align_val_t line{64};
    struct line_free {
        void operator()(char* p) const { ::operator delete(p, line); }
    };
    struct small_memory {
        std::unique_ptr<char, line_free> start;
        std::size_t bytes = 0;
    };

private:
    small_memory small_;
    pages large_{};
    char* first_;
    std::size_t stride_;

public:
    explicit scratch(std::size_t bytes, int threads = 1);
    ~scratch();
    scratch(const scratch&) = delete;
    scratch& operator=(const scratch&) = delete;

    // 64-byte aligned, of undefined content.
    void* of_this_worker() const { return first_ + static_cast<std::size_t>(worker()) * stride_; }
};

}  // namespace lossk
