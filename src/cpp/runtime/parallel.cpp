// Work in pieces, by OpenMP's threads or the team's; a serial child after fork; how many threads there are by default.
#include "parallel.hpp"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "openmp.hpp"
#include "quota.hpp"
#include "team.hpp"
#if defined(__linux__)
#include <sched.h>
#endif

namespace lossk {
namespace {

// More threads do no good, and would be kept: but so few that nobody asks how many cores there are.
constexpr int threads_a_core = 4, few_threads = 16;

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

struct setting {
    std::atomic<int> threads;
    std::atomic<const char*> source;
};

setting default_setting() {
    pthread_atfork(nullptr, nullptr, [] { forked = true; });
    if (const char* asked = std::getenv("LOSSK_NUM_THREADS"); asked && *asked) {
        if (const int n = count_in(asked, true)) return {n, "LOSSK_NUM_THREADS"};
        throw std::invalid_argument("LOSSK_NUM_THREADS: got '" + std::string(asked) +
                                    "', wanted an integer from 1 to " + std::to_string(max_threads));
    }
    const char* of_openmp = std::getenv("OMP_NUM_THREADS");  // may be a list, one number a level
    if (const int n = of_openmp ? count_in(of_openmp, false) : 0) return {n, "OMP_NUM_THREADS"};
    if (usable_cpus() < usable_cores()) return {usable_cpus(), "the CPU quota of the process's cgroup"};
    return {usable_cores(), "the cores that the process may use"};
}

setting& of_process() {
    static setting s = default_setting();
    return s;
}

thread_local int own_threads = 0, worker_number = 0;

thread_local stoppable_work* stoppable = nullptr;

// Work that is shared out: whoever is free takes the next few items.
class shared_work {
    static constexpr int shares = 8;
    const index items_;
    const int threads_;
    const index largest_;  // share
    void (*const work_)(void*, index, index);
    void* const context_;
    std::atomic<index> next_{0};
    std::atomic<int> joined_{0};
    std::atomic<bool> failed_{false};
    std::exception_ptr failure_;  // of the thread that failed first: none may leave the others

    // Cores are not equally fast, least of all when others use them too: large shares first, small ones in the end.
    bool take(index& begin, index& end) {
        begin = next_.load(std::memory_order_relaxed);
        do {
            if (failed_ || begin >= items_) return false;
            end = begin + std::clamp((items_ - begin) / (shares * threads_), index{1}, largest_);
        } while (!next_.compare_exchange_weak(begin, end, std::memory_order_relaxed));
        return true;
    }

public:
    shared_work(index items, int threads, void (*work)(void*, index, index), void* context)
        : items_(items),
          threads_(threads),
          largest_(stoppable ? stoppable->largest_share(items) : items),
          work_(work),
          context_(context) {}

    void take_part() {
        worker_number = joined_.fetch_add(1, std::memory_order_relaxed);
        try {
            for (index begin, end; take(begin, end);) {
                if (stoppable) stoppable->look_if_due();
                work_(context_, begin, end);
            }
        } catch (...) {
            if (!failed_.exchange(true)) failure_ = std::current_exception();
        }
        worker_number = 0;
    }
    void rethrow() const {
        if (failure_) std::rethrow_exception(failure_);
    }
};

}  // namespace

int usable_cpus() {
    const int cores = usable_cores();
    return std::clamp(static_cast<int>(std::ceil(cpu_quota().value_or(cores))), 1, cores);
}

int first_usable_cpu() {
#if defined(__linux__)
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0)
        for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu)
            if (CPU_ISSET(cpu, &allowed)) return static_cast<int>(cpu);
#endif
    return 0;
}

int get_num_threads() { return own_threads > 0 ? own_threads : of_process().threads.load(std::memory_order_relaxed); }

void set_num_threads(int n) {
    of_process().threads = n;
    of_process().source = "set_num_threads";
}

const char* threads_source() { return own_threads > 0 ? "a block of threads()" : of_process().source.load(); }

int set_own_threads(int n) {
    const int before = own_threads;
    own_threads = n;
    return before;
}

const char* parallel_runtime() {
    if (forked) return "one thread, in a child of fork";
    return prefers_openmp() ? "OpenMP" : "team";
}

int threads_for(index items, int threads) {
    if (forked || threads <= 1 || items <= 1) return 1;
    if (threads > few_threads) threads = std::min(threads, std::max(few_threads, threads_a_core * usable_cores()));
    return threads > items ? static_cast<int>(items) : threads;
}

int worker() { return worker_number; }

void share_out(index items, int threads, void (*work)(void*, index, index), void* context) {
    threads = threads_for(items, threads);
    // Not even a region of one thread: entering it costs as much as a small kernel.
    if (threads == 1 && !stoppable) {
        if (items > 0) work(context, 0, items);
        return;
    }
    shared_work all(items, threads, work, context);
    if (threads == 1) {
        all.take_part();
        return all.rethrow();
    }
    constexpr auto take_part = [](void* w) { static_cast<shared_work*>(w)->take_part(); };
    if (!run_on_openmp(threads, take_part, &all)) run_with_helpers(threads - 1, take_part, &all);
    all.rethrow();
}

bool run_elsewhere(void (*work)(void*), void* context) {
    try {
        std::thread(work, context).join();
    } catch (const std::system_error&) {
        return false;
    }
    return true;
}

// A look may take time: as Python's other threads do not give up its lock at once, 5 ms. Ten times as much goes to
// work.
constexpr std::chrono::milliseconds shortest_pause{20}, longest_pause{60};

stoppable_work::stoppable_work(index elements)
    : before_(std::exchange(stoppable, this)), elements_(elements), next_look_(clock::now() + shortest_pause) {}
stoppable_work::~stoppable_work() { stoppable = before_; }

// .05 to 10 ms of work.
index stoppable_work::largest_share(index items) const {
    constexpr index share = index{1} << 18;
    return std::max(index{1}, items / std::max(index{1}, elements_ / share));
}

// What looks may itself share out work.
void stoppable_work::look_if_due() {
    const clock::time_point now = clock::now();
    if (now < next_look_) return;
    struct set_aside {
        stoppable_work* const work = std::exchange(stoppable, nullptr);
        const int number = std::exchange(worker_number, 0);
        ~set_aside() {
            stoppable = work;
            worker_number = number;
        }
    } const meanwhile;
    look();
    const clock::time_point after = clock::now();
    next_look_ = after + std::clamp<clock::duration>(10 * (after - now), shortest_pause, longest_pause);
}

}  // namespace lossk
