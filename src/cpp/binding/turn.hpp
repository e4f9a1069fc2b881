// Only one call at a time of those that share a turn: of an optimizer, steps and whatever saves or loads its state.
#pragma once

#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>

namespace lossk {

// It is taken and left with the interpreter lock held.
class turn {
    bool taken_ = false;

public:
    void take(const char* who) {
        if (taken_)
            throw std::runtime_error(std::string(who) +
                                     ": got a call while another thread is in a step of this optimizer, or saves or "
                                     "loads its state; wanted one at a time");
        taken_ = true;
    }
    void leave() { taken_ = false; }
};

class taken_turn {
    turn& turn_;

public:
    taken_turn(turn& t, const char* who) : turn_(t) { turn_.take(who); }
    taken_turn(const taken_turn&) = delete;
    ~taken_turn() { turn_.leave(); }
};

}  // namespace lossk
