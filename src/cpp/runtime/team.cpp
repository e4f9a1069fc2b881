// The threads where OpenMP's (openmp.hpp says where) would be slower: a region of OpenMP waits for all of its threads,
// even for one that another library's spinning threads keep from its core, and every thread that calls has a pool.
#include "team.hpp"

#include <atomic>
#include <chrono>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <type_traits>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

#include "parallel.hpp"

namespace lossk {
namespace {

// How long to look for what is about to happen before sleeping until it does.
constexpr auto patience = std::chrono::microseconds(50);

void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

void wait_while(const std::atomic<int>& state, int value) {
    const auto start = std::chrono::steady_clock::now();
    while (state.load(std::memory_order_acquire) == value) {
        relax();
        if (std::chrono::steady_clock::now() - start > patience) state.wait(value, std::memory_order_acquire);
    }
}

int current_core() {
#if defined(__linux__)
    return sched_getcpu();
#else
    return -1;
#endif
}

// A helper that finds itself on its caller's core takes turns with it. It asks for any other, and then, as before, for
// any at all.
void leave_core(int core) {
#if defined(__linux__)
    cpu_set_t allowed, others;
    if (core < 0 || sched_getcpu() != core || sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
    others = allowed;
    CPU_CLR(static_cast<std::size_t>(core), &others);
    if (CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof others, &others) != 0) return;
    sched_setaffinity(0, sizeof allowed, &allowed);
#else
    static_cast<void>(core);
#endif
}

class helper {
    enum : int { idle, called, working, dismissed };
    std::atomic<int> state_{idle};
    void (*work_)(void*) = nullptr;
    void* context_ = nullptr;
    int caller_core_ = -1;

    // libstdc++'s notify_one() wakes nobody where it finds no sleeper. It must not look before the store is seen by one
    // that is about to sleep, as it may after a store of release order: that thread would sleep for ever.
    void become(int state) {
        state_.store(state, std::memory_order_seq_cst);
        state_.notify_one();
    }

public:
    void live() {
        for (;;) {
            wait_while(state_, idle);
            int expected = called;
            if (!state_.compare_exchange_strong(expected, working)) {
                if (expected == dismissed) return;
                continue;  // called off
            }
            leave_core(caller_core_);
            work_(context_);
            become(idle);
        }
    }

    void call(void (*work)(void*), void* context, int core) {
        work_ = work;
        context_ = context;
        caller_core_ = core;
        become(called);
    }

    void call_off_or_wait() {
        int expected = called;
        if (!state_.compare_exchange_strong(expected, idle)) wait_while(state_, working);
    }

    void dismiss() { become(dismissed); }
};

// The helpers of one call at a time. They are never joined: each sleeps until the process ends or it is dismissed, and
// lives as long as its thread.
class team {
    std::vector<std::shared_ptr<helper>> helpers_;

    void grow(std::size_t n) {
        try {
            helpers_.reserve(n);
            while (helpers_.size() < n) {
                auto one = std::make_shared<helper>();
                std::thread([one] { one->live(); }).detach();
                helpers_.push_back(std::move(one));
            }
        } catch (const std::exception&) {  // no more memory or threads to be had: fewer do as well
        }
    }

public:
    team* next = nullptr;  // among those without a call

    team() = default;
    team(const team&) = delete;
    ~team() {
        for (const auto& h : helpers_) h->dismiss();
    }

    int size() const { return static_cast<int>(helpers_.size()); }

    void run(std::size_t helpers, void (*work)(void*), void* context) {
        grow(helpers);
        const std::size_t n = helpers < helpers_.size() ? helpers : helpers_.size();
        const int core = current_core();
        for (std::size_t i = 0; i < n; ++i) helpers_[i]->call(work, context, core);
        work(context);
        for (std::size_t i = 0; i < n; ++i) helpers_[i]->call_off_or_wait();
    }
};

// Teams without a call, in a list that takes no memory. Never destroyed, as helpers may outlive everything.
class idle_teams {
    std::mutex mutex_;
    team* first_ = nullptr;
    int helpers_ = 0;

public:
    // Null: there is none, nor memory for one.
    std::unique_ptr<team> take() {
        const std::lock_guard lock(mutex_);
        if (!first_) return std::unique_ptr<team>(new (std::nothrow) team);
        std::unique_ptr<team> own(first_);
        first_ = own->next;
        helpers_ -= own->size();
        return own;
    }
    // Dismisses a team with which more helpers would be kept than threads run in any call.
    void keep(std::unique_ptr<team> own) {
        const std::lock_guard lock(mutex_);
        const int all = helpers_ + own->size();
        if (threads_for(all, all) < all) return;
        helpers_ = all;
        own->next = first_;
        first_ = own.release();
    }
};
static_assert(std::is_trivially_destructible_v<idle_teams>);
idle_teams& all_idle() {
    static idle_teams teams;
    return teams;
}

}  // namespace

void run_with_helpers(int helpers, void (*work)(void*), void* context) {
    std::unique_ptr<team> own = all_idle().take();
    if (!own) return work(context);
    own->run(static_cast<std::size_t>(helpers), work, context);
    all_idle().keep(std::move(own));
}

}  // namespace lossk
