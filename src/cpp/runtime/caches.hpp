// How much of the last-level cache this process can count on.
#pragma once

#include <string>

#include "../base/types.hpp"

namespace lossk {

struct cache_estimate {
    index bytes;
    std::string source;  // for people
};

// Of what a system reports (0: nothing), no more than so many CPUs can own. Virtual machines and containers often
// report the host's whole cache.
cache_estimate bounded_cache(index reported, int cpus);

// For the CPUs that this process may use, or what it was told to pretend.
cache_estimate last_level_cache_estimate();
index last_level_cache();

// Tests pretend another size, to have small results streamed; 0 bytes: the estimate again.
void pretend_last_level_cache(index bytes);

}  // namespace lossk
