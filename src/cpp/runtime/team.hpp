// Threads that help a call, and sleep soon after it.
#pragma once

namespace lossk {

// Calls work(context) on the calling thread and on up to `helpers` others; returns when all that have begun
// are through. Those that have not begun by the time the calling thread is through are called off: a call never waits
// for a thread that another program's threads keep from its core. `work` must not throw. Any number of threads may
// call at once.
void run_with_helpers(int helpers, void (*work)(void*), void* context);

}  // namespace lossk
