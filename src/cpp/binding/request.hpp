// What a verb of a loss is asked for: the fields of Request in python/lossk/_request.py, read and checked.
#pragma once

#include "arrays.hpp"

namespace lossk {

struct request {
    verb what;
    py::handle z, target, third, sample_weight, out;  // borrowed
    reduction how;
    std::optional<double> normalizer;
    int threads;
    bool check;       // are targets outside the loss's domain an error?
    bool ignore_nan;  // do targets that are NaN not count?
    bool stats;
    bool classes_last;  // else the class axis must be moved first

    explicit request(py::handle given);
};

// A request like another one, of other arrays.
py::object request_for(py::handle like, py::handle z, py::handle target);

// Of a loss's own array, which it has for both types of arithmetic, the one that goes with `e`; nothing of None.
std::optional<array_view> constant_for(py::handle pair, element e);

}  // namespace lossk
