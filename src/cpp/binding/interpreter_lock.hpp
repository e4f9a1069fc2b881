// The interpreter lock: released around long work, and asked for by threads that may outlive the interpreter.
//
// A daemon thread that asks for the lock while the interpreter ends never gets it. Python 3.14 lets it wait for ever;
// before, pthread_exit unwinds its stack through destructors, which without the lock must not touch Python's objects.
// So here the first of them waits for ever, with every version.
#pragma once

#include <pybind11/pybind11.h>

#include <chrono>
#include <exception>
#include <optional>
#include <thread>
#include <type_traits>

#include "../runtime/parallel.hpp"

namespace lossk {

// Waits for ever where the stack is unwound for another reason than an exception.
class no_thread_exit {
    const int exceptions_ = std::uncaught_exceptions();
    bool returned_ = false;

public:
    no_thread_exit() = default;
    no_thread_exit(const no_thread_exit&) = delete;
    ~no_thread_exit() {
        while (!returned_ && std::uncaught_exceptions() == exceptions_)
            std::this_thread::sleep_for(std::chrono::hours(1));
    }
    void returned() { returned_ = true; }
};

// What call() returns, which may ask for the lock: anything that may run Python's code does.
template <class F>
auto asking_for_lock(F&& call) {
    no_thread_exit here;
    if constexpr (std::is_void_v<decltype(call())>) {
        call();
        here.returned();
    } else {
        auto result = call();
        here.returned();
        return result;
    }
}

class released_lock {
    PyThreadState* const thread_ = PyEval_SaveThread();

public:
    released_lock() = default;
    released_lock(const released_lock&) = delete;
    ~released_lock() { take_back(); }
    void take_back() const {
        asking_for_lock([this] { PyEval_RestoreThread(thread_); });
    }
};

// Work without the lock that ends where a signal's handler raises, as Ctrl-C's does.
class interruptible_work : public stoppable_work {
    const released_lock& released_;

    void look() override {
        released_.take_back();
        struct release {
            ~release() { PyEval_SaveThread(); }
        } const again;
        if (PyErr_CheckSignals() != 0) throw pybind11::error_already_set();
    }

public:
    interruptible_work(const released_lock& released, index elements) : stoppable_work(elements), released_(released) {}
};

// Python handles signals on its main thread, which one can ask for until the interpreter ends.
inline bool handles_signals() {
    try {
        const auto main = pybind11::module_::import("threading").attr("main_thread")();
        return main.attr("ident").cast<unsigned long>() == PyThread_get_thread_ident();
    } catch (const pybind11::error_already_set&) {
        return false;
    }
}

// Whether a signal may end a call half way: not where it writes to the user's arrays.
enum class interrupts { allowed, deferred };
constexpr interrupts interrupts_of(bool overwrites) { return overwrites ? interrupts::deferred : interrupts::allowed; }

// Runs `work` without the lock where it is long enough to be worth the switch, and lets signals in where it takes
// longer than they may wait.
template <class F>
auto without_gil(index elements, interrupts signals, F&& work) {
    if (elements < 16384) return work();
    const bool may_stop = signals == interrupts::allowed && elements >= index{1} << 20 && handles_signals();
    const released_lock released;
    std::optional<interruptible_work> stoppable;
    if (may_stop) stoppable.emplace(released, elements);
    return work();
}

}  // namespace lossk
