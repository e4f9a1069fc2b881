// Loops that are unrolled before anything else happens to them: what they index stays in registers.
#pragma once

namespace lossk {
namespace {

// A number that the compiler knows, whatever it is passed through.
template <int n>
struct constant {
    constexpr operator int() const { return n; }
};

template <int... i>
struct sequence {};
template <int n, int... i>
struct count_up : count_up<n - 1, n - 1, i...> {};
template <int... i>
struct count_up<0, i...> {
    using type = sequence<i...>;
};
// 0, 1, ..., n - 1.
template <int n>
using sequence_to = typename count_up<n>::type;

template <class F, int... i>
inline void call_each(F&& work, sequence<i...>) {
    (work(constant<i>{}), ...);
}
// Calls work(i) for the constants i = 0, ..., n - 1.
template <int n, class F>
inline void unrolled(F&& work) {
    call_each(work, sequence_to<n>{});
}

}  // namespace
}  // namespace lossk
