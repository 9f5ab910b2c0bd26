"""Why a peer is faster on some rows: what was found by measuring, with the number that says so.

The page shows a reason beside its row if the published run has a faster peer there, and says so where there is none.
"""

from __future__ import annotations

from typing import Final

MEASURED_ON: Final = "AMD EPYC (Zen 4, AVX-512)"
"""The processor of the numbers: the shortest of many calls on one thread; "in the cache" with 20 to 64 KiB of data."""

REASONS: Final[dict[str, str]] = {
    "call-overhead": (
        "the call itself: with one operation in place of 20 it takes 90 of 99 ns, since it looks at its argument and "
        "makes an array for the result. CasADi's buffers are bound before, so it does neither"
    ),
    "garch-gradient": (
        "the days wait for one another: 2.76 µs for 250 days, there and back, are 5.5 ns for each. With `fast_math`, "
        "which rounds a product and its sum once, as the C that CasADi makes does, it is 2.51 µs"
    ),
    "chain-f64-carried": (
        "each product and each sum is rounded, as NumPy's are: 20 operations, two of which start in a cycle, take "
        "0.34 ns for an element, and 0.40 ns in the cache. With `fast_math`, which rounds a product and its sum once, "
        "it is 0.27 ns there"
    ),
    "logistic-map": (
        "arithmetic: of 16 products for an element one vector starts in a cycle, which takes 0.54 ns. In the cache it "
        "is 0.57 ns, and in memory 0.58 ns"
    ),
    "black-scholes-f32": (
        "arithmetic, in which every division and square root is rounded correctly. 1 + erf(x) becomes erfc(-x), which "
        "keeps its digits where the sum cancels: 0.52 ns each in the cache, and the whole price, with two, 2.4 ns"
    ),
    "greeks-f32": ("as for black-scholes-f32: of 3.7 ns in the cache, two complementary error functions take 1.0 ns"),
    "standardise-columns": (
        "squares of single precision are added up in double. An element takes 0.27 ns in the cache, and 0.25 ns in "
        "Numba; with totals of double precision and a division, as here, Numba takes 0.28 ns there"
    ),
    "layernorm": (
        "memory: 0.22 ns for an element in the cache, and 0.23 to 0.38 ns, by process, with its 16 MiB, which the last "
        "cache holds where others leave room for them. In two runs of this row alone it is 0.98× and 1.16× the fastest "
        "peer"
    ),
    "sum-of-squares": (
        "memory: to find the largest integer in as many bytes takes NumPy 0.95 ms. In the cache an element takes "
        "0.05 ns, which would be 0.5 ms for all"
    ),
    "heat-stencil": (
        "memory: a copy of the array takes 0.20 ns for an element, a step 0.25 ns in the second cache and 0.34 ns "
        "here; Numba takes 0.33 ns and 0.42 ns. How much of both arrays is left in the cache varies more than that"
    ),
    "rosenbrock-hessian": (
        "zeros: to fill the 80,000 bytes of the result takes 0.72 of 1.11 µs, as much as the second cache takes in. To "
        "compute 300 numbers in 3 directions takes 0.17 µs, to move 298 of them 0.10 µs, and the call 0.11 µs, one of "
        "CasADi's 0.07 µs. CasADi fills the matrix in each call, too"
    ),
}
