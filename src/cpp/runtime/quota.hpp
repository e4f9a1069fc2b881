// How much CPU time the control groups of this process grant it.
#pragma once

#include <optional>
#include <string>

namespace lossk {

// In CPUs: 1.5 is three halves of a second each second. Nothing where there is no limit. Tests have files of their own
// below `root`.
std::optional<double> cpu_quota(const std::string& root = "");

}  // namespace lossk
