// OpenMP, and what keeps it harmless: pieces of fixed size, a serial child after fork, scratch memory kept per thread.
#include "parallel.hpp"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdlib>
#include <exception>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>

#if defined(_OPENMP)
#include <omp.h>
#endif

namespace lossk {
namespace {

// The pool of libgomp does not survive fork (GCC PR 60035): a child that forks from a used parent runs serially.
std::atomic<bool> forked{false};

int threads_from_environment() {
    pthread_atfork(nullptr, nullptr, [] { forked = true; });
    if (const char* asked = std::getenv("LOSSK_NUM_THREADS"); asked && *asked) {
        const std::string text = asked;
        int n = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
        if (error != std::errc{} || end != text.data() + text.size() || n < 1 || n > max_threads)
            throw std::invalid_argument("LOSSK_NUM_THREADS: got '" + text + "', wanted an integer from 1 to " +
                                        std::to_string(max_threads));
        return n;
    }
#if defined(_OPENMP)
    return omp_get_max_threads();
#else
    return 1;
#endif
}

std::atomic<int>& process_threads() {
    static std::atomic<int> n{threads_from_environment()};
    return n;
}

thread_local int own_threads = 0;

constexpr int turns_per_thread = 16;

}  // namespace

int get_num_threads() { return own_threads > 0 ? own_threads : process_threads().load(std::memory_order_relaxed); }

void set_num_threads(int n) { process_threads() = n; }

int set_own_threads(int n) {
    const int before = own_threads;
    own_threads = n;
    return before;
}

const char* parallel_runtime() {
#if defined(_OPENMP)
    static const std::string name = "OpenMP " + std::to_string(_OPENMP);
    return name.c_str();
#else
    return "none (serial build)";
#endif
}

void share_out(index items, int threads, void (*work)(void*, index, index), void* context) {
    if (threads > items) threads = static_cast<int>(items);
    // Not even a region of one thread: entering it costs as much as a small kernel.
    if (threads <= 1 || forked) {
        if (items > 0) work(context, 0, items);
        return;
    }
#if defined(_OPENMP)
    // Whoever is free takes the next few pieces: cores are not equally fast, least of all when others use them too.
    const index turns = index{turns_per_thread} * threads, few = (items + turns - 1) / turns;
    std::atomic<index> next{0};
    std::exception_ptr failure;  // of the thread that failed first: none may leave the region
    std::atomic<bool> failed{false};
#pragma omp parallel num_threads(threads)
    try {
        for (index begin; !failed && (begin = next.fetch_add(few, std::memory_order_relaxed)) < items;)
            work(context, begin, std::min(begin + few, items));
    } catch (...) {
        if (!failed.exchange(true)) failure = std::current_exception();
    }
    if (failure) std::rethrow_exception(failure);
#endif
}

void* thread_scratch(std::size_t bytes) {
    struct aligned_free {
        void operator()(void* p) const { ::operator delete(p, std::align_val_t{64}); }
    };
    thread_local std::unique_ptr<void, aligned_free> memory;
    thread_local std::size_t size = 0;
    if (bytes > size) {
        memory.reset();
        size = 0;
        memory.reset(::operator new(bytes, std::align_val_t{64}));
        size = bytes;
    }
    return memory.get();
}

}  // namespace lossk
