// Scratch memory: up to a size kept by each thread that calls, beyond it by pages.cpp.
#include "scratch.hpp"

#include <utility>

#include "memory.hpp"

namespace lossk {
namespace {

// Of the calling thread, below the size from which on it is worth pages; while a call has it, there is none.
thread_local scratch::small_memory kept;

scratch::small_memory take_kept(std::size_t bytes) {
    scratch::small_memory own = std::exchange(kept, {});
    if (own.bytes >= bytes) return own;
    own = {};
    own.start.reset(static_cast<char*>(::operator new(bytes, scratch::line)));
    own.bytes = bytes;
    return own;
}

}  // namespace

scratch::scratch(std::size_t bytes, int threads) : stride_((bytes + 63) / 64 * 64) {
    const std::size_t all = stride_ * static_cast<std::size_t>(threads);
    first_ = allocate("scratch", all, [&] {
        if (all >= smallest_pages) {
            large_ = take_pages(all);
            return static_cast<char*>(large_.start);
        }
        small_ = take_kept(all);
        return small_.start.get();
    });
}

scratch::~scratch() {
    if (large_.start) give_back(large_);
    if (small_.bytes > kept.bytes) kept = std::move(small_);
}

}  // namespace lossk
