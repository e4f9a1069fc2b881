// CPU quotas of control groups, version 1 (cpu.cfs_quota_us) and 2 (cpu.max): the smallest of a group and those around
// it.
#include "quota.hpp"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <vector>

namespace lossk {
namespace {

using std::string;

std::vector<string> split(const string& text, char by) {
    std::vector<string> parts;
    std::istringstream stream(text);
    for (string part; std::getline(stream, part, by);) parts.push_back(part);
    return parts;
}

bool contains(const std::vector<string>& parts, const string& part) {
    return std::find(parts.begin(), parts.end(), part) != parts.end();
}

// A hierarchy of groups that limits CPU time: which part of it is mounted, and where.
struct hierarchy {
    bool unified;  // version 2
    string root, mounted_at;
};

// Lines of mountinfo: id, parent, device, root, mount point, options, ..., "-", type, source, options of the type.
std::vector<hierarchy> hierarchies(const string& root) {
    std::vector<hierarchy> found;
    std::ifstream file(root + "/proc/self/mountinfo");
    for (string line; std::getline(file, line);) {
        const std::vector<string> fields = split(line, ' ');
        const auto dash = std::find(fields.begin(), fields.end(), "-");
        if (fields.end() - dash < 4 || dash - fields.begin() < 5) continue;
        const bool unified = dash[1] == "cgroup2";
        if (unified || (dash[1] == "cgroup" && contains(split(dash[3], ','), "cpu")))
            found.push_back({unified, fields[3], root + fields[4]});
    }
    return found;
}

// The group of this process in a hierarchy, by lines like "4:cpu,cpuacct:/group"; of version 2 "0::/group".
string group_in(const hierarchy& h, const string& root) {
    std::ifstream file(root + "/proc/self/cgroup");
    for (string line; std::getline(file, line);) {
        const std::vector<string> fields = split(line, ':');
        if (fields.size() < 3) continue;
        if (h.unified ? fields[0] == "0" && fields[1].empty() : contains(split(fields[1], ','), "cpu"))
            return line.substr(fields[0].size() + fields[1].size() + 2);
    }
    return "/";
}

// The group's folder below the mount point, "" or "/a/b". A container may see only its own part of the hierarchy.
string folder_of(const hierarchy& h, string group) {
    if (h.root != "/") group = group.rfind(h.root, 0) == 0 ? group.substr(h.root.size()) : "";
    return group == "/" ? "" : group;
}

// Quota and period; the quota is "max" or -1 where there is none.
std::optional<double> limit_at(const hierarchy& h, const string& folder) {
    double quota = 0, period = 0;
    if (h.unified) {
        std::ifstream file(h.mounted_at + folder + "/cpu.max");
        file >> quota >> period;
    } else {
        std::ifstream(h.mounted_at + folder + "/cpu.cfs_quota_us") >> quota;
        std::ifstream(h.mounted_at + folder + "/cpu.cfs_period_us") >> period;
    }
    return quota > 0 && period > 0 ? std::optional(quota / period) : std::nullopt;
}

}  // namespace

std::optional<double> cpu_quota(const string& root) {
    std::optional<double> smallest;
    for (const hierarchy& h : hierarchies(root)) {
        string folder = folder_of(h, group_in(h, root));
        for (;;) {
            if (const auto limit = limit_at(h, folder)) smallest = std::min(smallest.value_or(*limit), *limit);
            if (folder.empty()) break;
            folder.resize(folder.find_last_of('/') == string::npos ? 0 : folder.find_last_of('/'));
        }
    }
    return smallest;
}

}  // namespace lossk
