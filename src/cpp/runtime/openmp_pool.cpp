// Runs work on the OpenMP threads of another library, which is found by its functions' names: PyTorch makes them
// visible to the whole process. lossk links to no OpenMP library.
#include "openmp_pool.hpp"

#if defined(__linux__)

#include <dlfcn.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
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
    if (asked && std::strcmp(asked, "0") == 0) return false;
    // Kernels take some 50 KB of stack, which OpenMP's threads have unless the user says otherwise.
    return !std::getenv("OMP_STACKSIZE") && !std::getenv("GOMP_STACKSIZE");
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
    static thread_local const bool is_main = getpid() == syscall(SYS_gettid);
    return is_main;
}

using clock = std::chrono::steady_clock;

struct region {
    void (*work)(void*);
    void* context;
    int threads;
    int (*thread)();
    clock::time_point through;  // when the calling thread had no more to do
};

// A region ends when all threads have come. Where they do not spin but sleep, or where another library's threads keep
// them from their cores, the calling thread has done everything and waits, for milliseconds: then the next calls go
// elsewhere, twice as many each time. Of the main thread alone.
class experience {
    static constexpr auto patience = std::chrono::microseconds(50);
    static constexpr int fewest = 64, most = 1 << 14;
    int calls_ = 0, next_ = fewest;

public:
    bool advises_against() { return calls_ > 0 && calls_-- > 0; }
    void note(clock::time_point start, clock::time_point through, clock::time_point end) {
        const auto waited = end - through;
        const bool late = waited > patience && waited > (end - start) / 8;
        if (late) calls_ = next_;
        next_ = late ? std::min(2 * next_, most) : fewest;
    }
};

}  // namespace

bool run_on_openmp_pool(int threads, void (*work)(void*), void* context) {
    if (!is_main_thread()) return false;
    const openmp* o = pool(false);
    static experience so_far;
    if (!o || o->in_parallel() || so_far.advises_against()) return false;
    // As many as the other library's regions have: libgomp ends the threads that a smaller region does not need, and
    // creates those that a larger one does.
    // Without hyperthreads, PyTorch's count, they are half as many as lossk's.
    const int size = o->max_threads();
    if (size < 2 || threads > 2 * size) return false;
    const auto start = clock::now();
    region r{work, context, threads, o->thread, start};
    o->parallel(
        [](void* p) {
            region& mine = *static_cast<region*>(p);
            const int thread = mine.thread();
            if (thread < mine.threads) mine.work(mine.context);
            if (thread == 0) mine.through = clock::now();
        },
        &r, static_cast<unsigned>(size), 0);
    so_far.note(start, r.through, clock::now());
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
