// Memory that a call needs: asked for a second time once kept pages are given up, and named where there is none.
#pragma once

#include <cstddef>
#include <cstdio>
#include <new>
#include <vector>

#include "pages.hpp"

namespace lossk {

// Python's MemoryError. Its text is a part of it, as there may be no memory for a string either.
class out_of_memory : public std::bad_alloc {
    char text_[128];

public:
    out_of_memory(const char* what, std::size_t bytes) noexcept {
        std::snprintf(text_, sizeof text_, "%s: wanted %zu bytes of memory, the system has no more", what, bytes);
    }
    const char* what() const noexcept override { return text_; }
};

// What take() returns, which throws std::bad_alloc where it finds no memory.
template <class F>
auto allocate(const char* what, std::size_t bytes, F&& take) {
    try {
        return take();
    } catch (const std::bad_alloc&) {
        release_kept_pages();
    }
    try {
        return take();
    } catch (const std::bad_alloc&) {
        throw out_of_memory(what, bytes);
    }
}

template <class T>
std::vector<T> vector_of(std::size_t n, const char* what) {
    return allocate(what, n * sizeof(T), [&] { return std::vector<T>(n); });
}

}  // namespace lossk
