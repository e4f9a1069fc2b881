// Scratch memory: up to a size kept by each thread that calls, beyond it by pages.cpp.
#include "scratch.hpp"

#include <memory>
#include <new>

#include "memory.hpp"

namespace lossk {
namespace {

constexpr std::align_val_t line{64};

struct aligned_free {
    void operator()(char* p) const { ::operator delete(p, line); }
};

// Memory of the calling thread, below the size from which on it is worth pages.
char* kept_memory(std::size_t bytes) {
    thread_local std::unique_ptr<char, aligned_free> memory;
    thread_local std::size_t size = 0;
    if (bytes > size) {
        memory.reset();
        size = 0;
        memory.reset(static_cast<char*>(::operator new(bytes, line)));
        size = bytes;
    }
    return memory.get();
}

}  // namespace

scratch::scratch(std::size_t bytes, int threads) : stride_((bytes + 63) / 64 * 64) {
    const std::size_t all = stride_ * static_cast<std::size_t>(threads);
    first_ = allocate("scratch", all, [&] {
        if (all < smallest_pages) return kept_memory(all);
        own_ = take_pages(all);
        return static_cast<char*>(own_.start);
    });
}

}  // namespace lossk
