// Work in pieces, by OpenMP's threads or the team's; a serial child after fork; scratch memory kept per thread.
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
#include <thread>

#include "openmp.hpp"
#include "team.hpp"
#if defined(__linux__)
#include <sched.h>
#endif

namespace lossk {
namespace {

// Threads do not survive fork, nor does libgomp's pool (GCC PR 60035): a child runs serially.
std::atomic<bool> forked{false};

// The number that a text begins with, if it is a possible one; else 0.
int count_in(const std::string& text, bool whole) {
    int n = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    const bool ends = end == text.data() + text.size() || (!whole && *end == ',');
    return error == std::errc{} && ends && n >= 1 && n <= max_threads ? n : 0;
}

// The cores that this process may use.
int usable_cores() {
#if defined(__linux__)
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) return CPU_COUNT(&allowed);
#endif
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

int threads_from_environment() {
    pthread_atfork(nullptr, nullptr, [] { forked = true; });
    if (const char* asked = std::getenv("LOSSK_NUM_THREADS"); asked && *asked) {
        if (const int n = count_in(asked, true)) return n;
        throw std::invalid_argument("LOSSK_NUM_THREADS: got '" + std::string(asked) +
                                    "', wanted an integer from 1 to " + std::to_string(max_threads));
    }
    const char* of_openmp = std::getenv("OMP_NUM_THREADS");  // may be a list, one number a level
    const int n = of_openmp ? count_in(of_openmp, false) : 0;
    return n > 0 ? n : usable_cores();
}

std::atomic<int>& process_threads() {
    static std::atomic<int> n{threads_from_environment()};
    return n;
}

thread_local int own_threads = 0;

// Work that is shared out: whoever is free takes the next few items.
class shared_work {
    static constexpr int shares = 8;
    const index items_;
    const int threads_;
    void (*const work_)(void*, index, index);
    void* const context_;
    std::atomic<index> next_{0};
    std::atomic<bool> failed_{false};
    std::exception_ptr failure_;  // of the thread that failed first: none may leave the others

    // Cores are not equally fast, least of all when others use them too: large shares first, small ones in the end.
    bool take(index& begin, index& end) {
        begin = next_.load(std::memory_order_relaxed);
        do {
            if (failed_ || begin >= items_) return false;
            end = begin + std::max(index{1}, (items_ - begin) / (shares * threads_));
        } while (!next_.compare_exchange_weak(begin, end, std::memory_order_relaxed));
        return true;
    }

public:
    shared_work(index items, int threads, void (*work)(void*, index, index), void* context)
        : items_(items), threads_(threads), work_(work), context_(context) {}

    void take_part() {
        try {
            for (index begin, end; take(begin, end);) work_(context_, begin, end);
        } catch (...) {
            if (!failed_.exchange(true)) failure_ = std::current_exception();
        }
    }
    void rethrow() const {
        if (failure_) std::rethrow_exception(failure_);
    }
};

}  // namespace

int usable_cpus() { return usable_cores(); }

int first_usable_cpu() {
#if defined(__linux__)
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0)
        for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu)
            if (CPU_ISSET(cpu, &allowed)) return static_cast<int>(cpu);
#endif
    return 0;
}

int get_num_threads() { return own_threads > 0 ? own_threads : process_threads().load(std::memory_order_relaxed); }

void set_num_threads(int n) { process_threads() = n; }

int set_own_threads(int n) {
    const int before = own_threads;
    own_threads = n;
    return before;
}

const char* parallel_runtime() {
    if (forked) return "one thread, in a child of fork";
    return prefers_openmp() ? "OpenMP" : "team";
}

void share_out(index items, int threads, void (*work)(void*, index, index), void* context) {
    if (threads > items) threads = static_cast<int>(items);
    // Not even a region of one thread: entering it costs as much as a small kernel.
    if (threads <= 1 || forked) {
        if (items > 0) work(context, 0, items);
        return;
    }
    shared_work all(items, threads, work, context);
    constexpr auto take_part = [](void* w) { static_cast<shared_work*>(w)->take_part(); };
    if (!run_on_openmp(threads, take_part, &all)) run_with_helpers(threads - 1, take_part, &all);
    all.rethrow();
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
