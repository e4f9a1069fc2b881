// Shares out pieces of work among threads, survives fork. Whose threads they are is openmp.hpp's and team.hpp's matter.
#pragma once

#include <chrono>
#include <type_traits>

#include "../base/types.hpp"
#include "tuning.hpp"

namespace lossk {

// Threads that a call uses by default: the calling thread's own setting, else the process's
// (LOSSK_NUM_THREADS, else OMP_NUM_THREADS, else one a core, but no more than the CPU quota grants).
constexpr int max_threads = 4096;
int get_num_threads();
void set_num_threads(int n);
// The calling thread's own setting; 0: none. Returns the one before.
int set_own_threads(int n);
const char* threads_source();  // which of these the default is now

const char* parallel_runtime();  // who shares out work: "OpenMP", "team", or why nobody does

// No more threads than have something worth waiting for.
inline int worthwhile_threads(int threads, index elements) {
    const index share = elements_per_thread();
    if (elements / 2 < share) return 1;
    const index useful = elements / share;
    return useful < threads ? static_cast<int>(useful) : threads;
}

// The CPUs that this process may use: its affinity, bounded by its CPU quota; and the first of them.
int usable_cpus();
int first_usable_cpu();

// The most threads that take part in sharing out `items` where `threads` may: no more than 4 a core, or 16.
int threads_for(index items, int threads);
// The number of the thread that runs a part of shared work, from 0 on and below threads_for.
int worker();

// Calls work(begin, end) for parts of [0, items), on at most `threads` threads, and returns when all are done.
void share_out(index items, int threads, void (*work)(void*, index, index), void* context);

template <class F>
void parallel_for(index items, int threads, F&& work) {
    using function = std::remove_reference_t<F>;
    share_out(items, threads, [](void* f, index b, index e) { (*static_cast<function*>(f))(b, e); }, &work);
}

// Calls work(context), which must not throw, on a thread of its own, and waits for it. False: there is none to be had.
bool run_elsewhere(void (*work)(void*), void* context);

// While one lives, work that its thread shares out may be stopped: `look` is called every 20 to 60 ms, between shares
// of about 2^18 elements, and what it throws ends the work. `elements`: those of one call of share_out.
class stoppable_work {
    using clock = std::chrono::steady_clock;
    stoppable_work* const before_;
    const index elements_;
    clock::time_point next_look_;

    virtual void look() = 0;

public:
    explicit stoppable_work(index elements);
    stoppable_work(const stoppable_work&) = delete;
    virtual ~stoppable_work();
    index largest_share(index items) const;
    void look_if_due();
};

}  // namespace lossk
