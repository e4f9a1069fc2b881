// How much of the last-level cache this process can count on: what sysfs says, bounded by what its CPUs can own.
#include "caches.hpp"

#include <atomic>
#include <fstream>

#include "parallel.hpp"

namespace lossk {
namespace {

constexpr index mebibyte = index{1} << 20;

// CPUs of 2018 to 2026 have at most 12 MiB of last-level cache a core (AMD's with stacked cache; others 1 to 4); a
// few models, with one or two cores a die, have more.
constexpr index most_per_cpu = 16 * mebibyte;

// Where nothing is reported.
constexpr index usual = 8 * mebibyte;

std::string text_of(index bytes) {
    return bytes % mebibyte == 0 ? std::to_string(bytes / mebibyte) + " MiB" : std::to_string(bytes / 1024) + " KiB";
}

// sysfs knows the slice that a core shares; sysconf may report the sum over a socket, so it is not asked.
index reported_by_sysfs() {
    const std::string caches = "/sys/devices/system/cpu/cpu" + std::to_string(first_usable_cpu()) + "/cache/index";
    for (int level : {3, 2}) {
        std::ifstream file(caches + std::to_string(level) + "/size");
        index size = 0;
        char unit = 0;
        if (file >> size >> unit) return size * (unit == 'M' ? mebibyte : 1024);
    }
    return 0;
}

const cache_estimate& of_this_process() {
    static const cache_estimate found = bounded_cache(reported_by_sysfs(), usable_cpus());
    return found;
}

std::atomic<index>& pretended() {
    static std::atomic<index> bytes{0};
    return bytes;
}

}  // namespace

cache_estimate bounded_cache(index reported, int cpus) {
    if (reported <= 0) return {usual, text_of(usual) + ", a guess: the system reports nothing"};
    const index owned = cpus * most_per_cpu;
    if (reported <= owned) return {reported, text_of(reported) + ", as the system reports"};
    return {owned, text_of(owned) + ", what " + std::to_string(cpus) + " usable CPU" + (cpus > 1 ? "s" : "") +
                       " can own at most; the system reports " + text_of(reported)};
}

cache_estimate last_level_cache_estimate() {
    const index told = pretended().load(std::memory_order_relaxed);
    return told > 0 ? cache_estimate{told, text_of(told) + ", as told"} : of_this_process();
}

index last_level_cache() {
    const index told = pretended().load(std::memory_order_relaxed);
    return told > 0 ? told : of_this_process().bytes;
}

void pretend_last_level_cache(index bytes) { pretended() = bytes; }

}  // namespace lossk
