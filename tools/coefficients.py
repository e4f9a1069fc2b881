"""Make, or check, the tables of src/cpp/simd/constants.hpp.

    python tools/coefficients.py                        print every table as the C++ lines of the headers
    python tools/coefficients.py --check src/cpp/simd   exit 1 unless the headers contain exactly these lines, and no
                                                        other table

Each polynomial is a weighted minimax fit: the Remez exchange (E. Ya. Remez, 1934; see J.-M. Muller, "Elementary
Functions", 3rd ed., section 3.6) run on a fine Chebyshev grid, where an exchange is an argmax. The coefficients are
then rounded one by one, the constant term first since it weighs most, and the rest are fitted again to make up for
what the rounding did. The error stated above a table is that of the rounded coefficients, without the rounding of
the evaluation; it is relative to the function which the table serves.
"""

import argparse
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import mpmath

Real = Any  # mpmath.mpf
Function = Callable[[Real], Real]

mpmath.mp.prec = 200
GRID = 800
DIGITS = {"float": 24, "double": 53}  # bits of the significand


class Fit(NamedTuple):
    """A polynomial in t on [low, high] that keeps weight(t) * |polynomial(t) - value(t)| small."""

    name: str
    serves: str
    value: Function
    weight: Function
    low: Real
    high: Real
    terms: dict[str, int]  # number of coefficients for each C++ type


def remez(nodes: Sequence[Real], value: Sequence[Real], weight: Sequence[Real], powers: range) -> list[Real]:
    """Find the coefficients of t**powers with the smallest max of weight * |value - polynomial| over the nodes."""
    count = len(powers) + 1
    chosen = [len(nodes) * (2 * i + 1) // (2 * count) for i in range(count)]
    coefficients: list[Real] = []
    for _ in range(60):
        # At the chosen nodes the error has one height and alternating signs: count linear equations.
        rows = [[*(weight[j] * nodes[j] ** k for k in powers), (-1) ** i] for i, j in enumerate(chosen)]
        *coefficients, height = mpmath.lu_solve(rows, [weight[j] * value[j] for j in chosen])
        fit = (mpmath.polyval(coefficients[::-1], t) * t**powers.start for t in nodes)
        error = [w * (f - p) for w, f, p in zip(weight, value, fit, strict=True)]
        if max(map(abs, error)) <= abs(height) * (1 + mpmath.mpf(2) ** -30):
            break
        chosen = alternation(error, count)
        if len(chosen) < count:
            break  # what is already rounded dominates: nothing left to level
    return coefficients


def alternation(error: Sequence[Real], count: int) -> list[int]:
    """Choose count nodes where the error peaks with alternating sign, leaving out the smallest peaks."""
    peaks: list[int] = []
    for i, e in enumerate(error):
        if peaks and (e > 0) == (error[peaks[-1]] > 0):
            peaks[-1] = max(peaks[-1], i, key=lambda j: abs(error[j]))
        else:
            peaks.append(i)
    while len(peaks) > count:
        ends = (0, len(peaks) - 1)
        least = min(ends if len(peaks) == count + 1 else range(len(peaks)), key=lambda i: abs(error[peaks[i]]))
        if least not in ends:  # signs must go on alternating: the smaller neighbour goes too
            del peaks[min(least - 1, least + 1, key=lambda i: abs(error[peaks[i]]))]
            least = min(range(len(peaks)), key=lambda i: abs(error[peaks[i]]))
        del peaks[least]
    return peaks


def rounded(x: Real, ctype: str, cut: int = 0) -> Real:
    """Round x to the given C++ type, its last `cut` bits zero."""
    with mpmath.workprec(DIGITS[ctype] - cut):
        return +x


def fitted(fit: Fit, ctype: str) -> tuple[list[Real], Real]:
    """Return the rounded coefficients and the largest weighted error that they leave."""
    nodes = [(fit.low + fit.high - (fit.high - fit.low) * mpmath.cospi((i + 0.5) / GRID)) / 2 for i in range(GRID)]
    weight = [fit.weight(t) for t in nodes]
    rest = [fit.value(t) for t in nodes]
    terms = fit.terms[ctype]
    done: list[Real] = []
    for k in range(terms):
        done.append(rounded(remez(nodes, rest, weight, range(k, terms))[0], ctype))
        rest = [f - done[k] * t**k for f, t in zip(rest, nodes, strict=True)]
    return done, max(abs(w * r) for w, r in zip(weight, rest, strict=True))


def exp_tail(r: Real) -> Real:
    """(exp(r) - 1 - r) / r^2."""
    return (mpmath.expm1(r) - r) / r**2


def power_tail(f: Real) -> Real:
    """(2^f - 1) / f."""
    return mpmath.expm1(f * LN2) / f


def log_tail(z: Real) -> Real:
    """(log((1 + s) / (1 - s)) - 2s) / s^3 at z = s^2."""
    s = mpmath.sqrt(z)
    return (mpmath.log((1 + s) / (1 - s)) - 2 * s) / s**3


def tanh_tail(z: Real) -> Real:
    """(tanh(x) - x) / x^3 + 1/4 at z = x^2."""
    x = mpmath.sqrt(z)
    return (mpmath.tanh(x) - x) / x**3 + mpmath.mpf(1) / 4


def tanh_weight(z: Real) -> Real:
    """x^3 / tanh(x) at z = x^2."""
    x = mpmath.sqrt(z)
    return x**3 / mpmath.tanh(x)


def shrink_tail(z: Real) -> Real:
    """(x - tanh(x)) / x^3 at z = x^2."""
    return mpmath.mpf(1) / 4 - tanh_tail(z)


def mills(t: Real) -> Real:
    """Phi(-a) exp(a^2 / 2) / t at t = 1 / (a + 4)."""
    a = 1 / t - 4
    return mpmath.erfc(a / mpmath.sqrt(2)) / 2 * mpmath.exp(a * a / 2) / t


LN2 = mpmath.log(2)
HALF_LN2 = LN2 / 2 * (1 + mpmath.mpf(2) ** -12)  # the reduction rounds, so r may lie a little outside
SIXTEENTH = mpmath.mpf(1) / 16 * (1 + mpmath.mpf(2) ** -12)

FITS = [
    Fit("exp_poly", "exp(r) = 1 + r + r^2 poly(r), |r| <= ln(2)/2", exp_tail, lambda r: r**2 / mpmath.exp(r),
        -HALF_LN2, HALF_LN2, {"float": 5, "double": 10}),
    Fit("quick_poly", "2^f = 1 + f poly(f), |f| <= 1/16", power_tail, lambda f: abs(f) / mpmath.mpf(2) ** f,
        -SIXTEENTH, SIXTEENTH, {"float": 3}),
    Fit("log_poly", "log((1+s)/(1-s)) = 2s + s^3 poly(s^2), s^2 <= 1/24", log_tail, lambda z: z / 2,
        mpmath.mpf(0), mpmath.mpf(1) / 24, {"float": 3, "double": 8}),
    Fit("unit_poly", "the same, 0 <= s <= 1/3", log_tail, lambda z: z / 2,
        mpmath.mpf(0), mpmath.mpf(1) / 9, {"float": 4, "double": 10}),
    Fit("tanh_poly", "tanh(x) = x + x^3 (poly(x^2) - 1/4), |x| <= 1", tanh_tail, tanh_weight,
        mpmath.mpf(0), mpmath.mpf(1), {"float": 7, "double": 15}),
    Fit("shrink_poly", "x - tanh(x) = x^3 poly(x^2), |x| <= 1", shrink_tail, lambda z: 1 / shrink_tail(z),
        mpmath.mpf(0), mpmath.mpf(1), {"float": 8, "double": 16}),
    Fit("mills_poly", "Phi(-a) = exp(-a^2 / 2) t poly(t), t = 1 / (a + 4), 0 <= a <= 38.5", mills,
        lambda t: 1 / mills(t), mpmath.mpf(1) / mpmath.mpf("42.5"), mpmath.mpf(1) / 4, {"float": 10, "double": 23}),
]  # fmt: skip


def literal(x: Real, ctype: str) -> str:
    """Spell x as a C++ hex float."""
    digits, exponent = float(x).hex().split("p")
    return f"{digits.rstrip('0').rstrip('.')}p{exponent}{'f' if ctype == 'float' else ''}"


def wrapped(line: str) -> str:
    """Indent a C++ line as a member, and break it."""
    return textwrap.fill(line, 120, initial_indent=" " * 4, subsequent_indent=" " * 8)


def eighths() -> str:
    """Spell the table of powers of two: where the bits hold 2^n and i << 20, adding entry i makes them 2^(n + i/8)."""
    values = []
    for i in range(8):
        power = rounded(mpmath.mpf(2) ** (mpmath.mpf(i) / 8), "float")
        fraction = int((power - 1) * 2**23)
        values.append(f"{(fraction - (i << 20)) % 2**32:#x}")
    comment = "    // The bits of 2^(i/8), less those of 1 and less i << 20."
    return comment + "\n" + wrapped(f"static constexpr word eighths[] = {{{', '.join(values)}}};")


def tables() -> Iterator[str]:
    """Yield every group of C++ lines, in the order of the headers."""
    for ctype, bits in DIGITS.items():
        # The high part of ln 2 ends in enough zeros to make its product with any exponent exact.
        high = rounded(LN2, ctype, 9 if ctype == "float" else 12)
        for name, x in (("log2e", 1 / LN2), ("ln2_hi", high), ("ln2_lo", LN2 - high)):
            yield f"    static constexpr {ctype} {name} = {literal(rounded(x, ctype), ctype)};"
        for fit in (fit for fit in FITS if ctype in fit.terms):
            coefficients, error = fitted(fit, ctype)
            comment = f"    // {fit.serves}; error {mpmath.nstr(error * 2**bits, 2)} * 2^-{bits}"
            values = ", ".join(literal(c, ctype) for c in coefficients)
            yield comment + "\n" + wrapped(f"static constexpr {ctype} {fit.name}[] = {{{values}}};")
            if fit.name == "quick_poly":
                yield eighths()


def differences(folder: Path) -> list[str]:
    """Return the lines that the headers of a folder lack, and the tables there that are not made here."""
    headers = " ".join(" ".join(path.read_text().split()) for path in sorted(folder.glob("*.hpp")))
    made = [" ".join(table.split()) for table in tables()]
    found = re.findall(r"static constexpr \w+ \w+\[\] = [^;]*;", headers)
    lacking = [f"not in the headers: {table}" for table in made if table not in headers]
    return lacking + [f"not made here: {table}" for table in found if not any(table in own for own in made)]


def main() -> int:
    """Print the tables, or look for them in the headers."""
    parser = argparse.ArgumentParser(description="make or check the constants of src/cpp/simd")
    parser.add_argument("--check", type=Path, metavar="FOLDER", help="look for them in the headers of this folder")
    folder = parser.parse_args().check
    if folder is None:
        print("\n".join(tables()))
        return 0
    different = differences(folder)
    print("\n".join(different) if different else "the headers contain these constants")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
