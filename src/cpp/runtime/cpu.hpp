// Which table of kernels runs: chosen once from what the CPU has, or forced by name. And how large its last cache is.
#pragma once

#include <string>
#include <vector>

#include "../base/types.hpp"

namespace lossk {

// Names of the tables that this CPU can run, best first.
std::vector<std::string> available_isas();

// The table in use. At first use: LOSSK_ISA if it is set, else the best; std::invalid_argument if that is not
// available.
const kernel_table& kernels();

void set_isa(const std::string& name);

// Bytes of last-level cache that one core can expect to use. Tests pretend that it has others, to have small results
// stored past the caches; 0 bytes: what it has.
index last_level_cache();
void pretend_last_level_cache(index bytes);

}  // namespace lossk
