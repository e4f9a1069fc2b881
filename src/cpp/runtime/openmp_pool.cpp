// The pool is found by its functions' names, which PyTorch makes visible to the whole process; lossk links to none.
#include "openmp_pool.hpp"

#if defined(__linux__)

#include <dlfcn.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>

namespace lossk {
namespace {

// libgomp's entry for `#pragma omp parallel`, the same since GCC 4.9, and LLVM's and Intel's libraries have it too.
using parallel_function = void (*)(void (*)(void*), void*, unsigned threads, unsigned flags);

struct openmp {
    parallel_function parallel;
    int (*max_threads)();
    int (*thread)();
    int (*in_parallel)();
};

template <class F>
bool find(const char* name, F& function) {
    function = reinterpret_cast<F>(dlsym(RTLD_DEFAULT, name));
    return function != nullptr;
}

bool allowed() {
    const char* asked = std::getenv("LOSSK_SHARE_THREADS");
    return !asked || std::strcmp(asked, "0") != 0;
}

// Another library may be loaded at any time; looking for it takes .5 us, so calls look every now and then.
const openmp* pool(bool look_now) {
    constexpr unsigned every = 64;
    static std::atomic<const openmp*> found{nullptr};
    static std::atomic<unsigned> calls{0};
    static const bool wanted = allowed();
    const openmp* known = found.load(std::memory_order_acquire);
    if (known || !wanted) return known;
    if (calls.fetch_add(1, std::memory_order_relaxed) % every != 0 && !look_now) return nullptr;
    openmp o{};
    if (!find("GOMP_parallel", o.parallel) || !find("omp_get_max_threads", o.max_threads) ||
        !find("omp_get_thread_num", o.thread) || !find("omp_in_parallel", o.in_parallel))
        return nullptr;
    static const openmp first = o;
    found.store(&first, std::memory_order_release);
    return &first;
}

// OpenMP keeps a pool for each thread that calls. The one worth sharing is the main thread's: others', as those of a
// program that calls from many threads, would only be created for our sake.
bool is_main_thread() {
    static thread_local const bool is_main = getpid() == gettid();
    return is_main;
}

struct region {
    void (*work)(void*);
    void* context;
    int threads;
    int (*thread)();
};

}  // namespace

bool run_on_openmp_pool(int threads, void (*work)(void*), void* context) {
    if (!is_main_thread()) return false;
    const openmp* o = pool(false);
    if (!o || o->in_parallel()) return false;
    // As many as the other library's regions have: libgomp ends the threads that a smaller region does not need, and
    // creates those that a larger one does.
    const int size = o->max_threads();
    if (threads > size) return false;
    region r{work, context, threads, o->thread};
    o->parallel(
        [](void* p) {
            const region& mine = *static_cast<region*>(p);
            if (mine.thread() < mine.threads) mine.work(mine.context);
        },
        &r, static_cast<unsigned>(size), 0);
    return true;
}

bool finds_openmp_pool() { return is_main_thread() && pool(true) != nullptr; }

}  // namespace lossk

#else

namespace lossk {

bool run_on_openmp_pool(int, void (*)(void*), void*) { return false; }
bool finds_openmp_pool() { return false; }

}  // namespace lossk

#endif
