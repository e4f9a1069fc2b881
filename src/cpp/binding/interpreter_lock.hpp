// The interpreter lock: released around long work, and asked for by threads that may outlive the interpreter.
//
// A daemon thread that asks for the lock while the interpreter ends never gets it. Python 3.14 lets it wait for ever;
// before, pthread_exit unwinds its stack through destructors, which may not throw and, without the lock, must not touch
// Python's objects. So here it waits for ever with every version.
#pragma once

#include <pybind11/pybind11.h>

#include <unistd.h>

#if defined(__GLIBCXX__)
#include <cxxabi.h>
#endif

#include "../base/types.hpp"

namespace lossk {

// What call() returns, which may ask for the lock: anything that may run Python's code does.
template <class F>
auto asking_for_lock(F&& call) {
#if defined(__GLIBCXX__)
    try {
        return call();
    } catch (const abi::__forced_unwind&) {
        for (;;) pause();
    }
#else
    return call();
#endif
}

class released_lock {
    PyThreadState* const thread_ = PyEval_SaveThread();

public:
    released_lock() = default;
    released_lock(const released_lock&) = delete;
    ~released_lock() {
        asking_for_lock([this] { PyEval_RestoreThread(thread_); });
    }
};

// Runs `work` without the lock where it is long enough to be worth the switch.
template <class F>
auto without_gil(index elements, F&& work) {
    if (elements < 16384) return work();
    const released_lock released;
    return work();
}

}  // namespace lossk
