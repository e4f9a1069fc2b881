// The machine's profile, which Python reads before the first call of a kernel.
#pragma once

#include "../runtime/tuning.hpp"

namespace lossk {

// kernels_of, once the profile is known. Of threads that hold the interpreter lock.
const kernel_table& tuned_kernels(family f);

}  // namespace lossk
