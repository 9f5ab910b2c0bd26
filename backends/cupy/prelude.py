"""What every generated kernel begins with: names of types, groups of elements, and folds.

A fold is a struct with what an accumulator is, what it starts from, how it takes an element, how two are joined, and
what the result is. All threads of a group get the same accumulator, bit for bit: joining is symmetric, and its order
depends on the shape of the group alone.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from graphc.backends.numpy.llvm.values import BOOL, F16, F32, F64, DType
from graphc.kernels import Fold

C_TYPES: Final[dict[DType, str]] = {
    BOOL: "bool",
    F16: "f16",
    F32: "float",
    F64: "double",
    **{np.dtype(f"{sign}{size}"): f"{sign}{8 * size}" for sign in "iu" for size in (1, 2, 4, 8)},
}

TYPES: Final = """\
typedef signed char i8; typedef short i16; typedef int i32; typedef long long i64;
typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32; typedef unsigned long long u64;

// a number of half precision: what arrays hold, and what is converted; cuda_fp16.h is not found everywhere
struct f16 {
  u16 bits;
  f16() = default;
  __device__ __forceinline__ f16(float x) {
#ifdef __CUDACC__
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
#else
    bits = emulation::half_of(x);
#endif
  }
  __device__ __forceinline__ f16(double x) {
#ifdef __CUDACC__
    asm("cvt.rn.f16.f64 %0, %1;" : "=h"(bits) : "d"(x));
#else
    bits = emulation::half_of(x);
#endif
  }
  __device__ __forceinline__ f16(int x) : f16((float)x) {}
  __device__ __forceinline__ operator float() const {
#ifdef __CUDACC__
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
#else
    return emulation::from_half(bits);
#endif
  }
};

// 1 / b to within two units in the last place, for b from 2^-126 to 2^126
__device__ __forceinline__ float near_inverse(float b) {
#ifdef __CUDACC__
  float inverse;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(b));
  return inverse;
#else
  return emulation::near_inverse(b);
#endif
}
__device__ __forceinline__ double near_inverse(double b) {
#ifdef __CUDACC__
  double inverse;
  asm("rcp.approx.ftz.f64 %0, %1;" : "=d"(inverse) : "d"(b));  // some 20 bits; the step below triples them
#else
  const double inverse = emulation::near_inverse(b);
#endif
  const double rest = fma(-b, inverse, 1.0);
  return fma(inverse, fma(rest, rest, rest), inverse);
}
// a / b to within two units in the last place, for the same b
__device__ __forceinline__ float near_quotient(float a, float b) { return a * near_inverse(b); }
__device__ __forceinline__ double near_quotient(double a, double b) { return a * near_inverse(b); }

// the halves of a double
__device__ __forceinline__ i32 high_half(double x) { return (i32)(__double_as_longlong(x) >> 32); }
__device__ __forceinline__ i32 low_half(double x) { return (i32)__double_as_longlong(x); }
__device__ __forceinline__ double of_halves(i32 high, i32 low) {
  return __longlong_as_double((i64)((u64)(u32)high << 32 | (u32)low));
}
// x = m 2^k for a positive normal x, with m between 2/3 and 4/3, and 2^23 k
__device__ __forceinline__ u32 above_two_thirds(float x) {
  return ((u32)__float_as_int(x) - 0x3f2aaaabu) & 0xff800000u;
}
__device__ __forceinline__ float mantissa(float x) {
  return __int_as_float((i32)((u32)__float_as_int(x) - above_two_thirds(x)));
}
__device__ __forceinline__ float exponent(float x) { return (float)(i32)above_two_thirds(x); }
// the same with m between sqrt(1/2) and sqrt(2), and k
__device__ __forceinline__ i32 above_root(double x) { return (i32)((u32)high_half(x) - 0x3fe6a09fu); }
__device__ __forceinline__ double mantissa(double x) {
  return of_halves((i32)((u32)high_half(x) - ((u32)above_root(x) & 0xfff00000u)), low_half(x));
}
__device__ __forceinline__ double exponent(double x) {
  // the bits of 2^52 + 2^31 + k
  return of_halves(0x43300000, (above_root(x) >> 20) ^ (i32)0x80000000) - of_halves(0x43300000, (i32)0x80000000);
}
// 1 / b rounded to nearest, and a / b from it, where nothing on the way is too large or too small: as the compiler
// divides, but one inverse serves all quotients by the same number (P. W. Markstein, 1990)
__device__ __forceinline__ double exact_inverse(double b) {
  const double inverse = near_inverse(b);
  return fma(inverse, fma(-b, inverse, 1.0), inverse);
}
__device__ __forceinline__ double exact_quotient(double a, double b, double inverse) {
  const double quotient = a * inverse;
  return fma(inverse, fma(-b, quotient, a), quotient);
}
// whether that was so, by exponents: those of a, of the quotient, and the product with 0 is NaN for a huge b
__device__ __forceinline__ bool is_exact(double a, double b, double quotient) {
  const float scale = fmaf(0.0f, __int_as_float(high_half(b)), __int_as_float(high_half(quotient)));
  return fabsf(__int_as_float(high_half(a))) >= 0x1p-120f && fabsf(scale) > 0x1p-129f;
}
// x 2^n, or more, for a normal result, where the low bits of the shifted number are n
__device__ __forceinline__ float raised(float x, float shifted) {
  return __int_as_float((i32)((u32)__float_as_int(x) + ((u32)__float_as_int(shifted) << 23)));
}
__device__ __forceinline__ double raised(double x, double shifted, i32 more = 0) {
  return of_halves((i32)((u32)high_half(x) + (((u32)low_half(shifted) + (u32)more) << 20)), low_half(x));
}

// the same for any result, rounded once
__device__ __forceinline__ double scaled(double x, double shifted) {
  const i32 n = low_half(shifted), half = n >> 1;
  return x * of_halves((half + 1023) << 20, 0) * of_halves((n - half + 1023) << 20, 0);
}

// adjacent elements that are read and written by one instruction
template <class T, int N> struct alignas(sizeof(T) * N) Pack { T v[N]; };
"""

FOLDS: Final = """\
template <class T> __device__ __forceinline__ T shuffled(T a, int o) { return __shfl_xor_sync(0xffffffffu, a, o); }
template <> __device__ __forceinline__ bool shuffled(bool a, int o) { return shuffled((int)a, o) != 0; }
template <> __device__ __forceinline__ i8 shuffled(i8 a, int o) { return (i8)shuffled((int)a, o); }
template <> __device__ __forceinline__ u8 shuffled(u8 a, int o) { return (u8)shuffled((int)a, o); }
template <> __device__ __forceinline__ i16 shuffled(i16 a, int o) { return (i16)shuffled((int)a, o); }
template <> __device__ __forceinline__ u16 shuffled(u16 a, int o) { return (u16)shuffled((int)a, o); }

// a sum and what it has lost by rounding: D. E. Knuth, The Art of Computer Programming 2, section 4.2.2
struct Total { double sum, rest; };
template <> __device__ __forceinline__ Total shuffled(Total a, int o) {
  return Total{shuffled(a.sum, o), shuffled(a.rest, o)};
}
__device__ __forceinline__ Total joined(Total a, double x, double rest) {
  const double sum = a.sum + x, back = sum - a.sum;
  const double lost = (a.sum - (sum - back)) + (x - back);
  return Total{sum, lost + (a.rest + rest)};
}

struct SumF64 {
  typedef Total Acc; typedef double T;
  __device__ static Acc start() { return Total{0.0, 0.0}; }
  __device__ static Acc take(Acc a, T x) { return joined(a, x, 0.0); }
  __device__ static Acc join(Acc a, Acc b) {
    const double sum = a.sum + b.sum;
    // the same whichever of the two comes first
    const double large = fabs(a.sum) < fabs(b.sum) ? b.sum : a.sum, small = fabs(a.sum) < fabs(b.sum) ? a.sum : b.sum;
    return Total{sum, (small - (sum - large)) + (a.rest + b.rest)};
  }
  // where the sum has overflowed, what it lost is no number
  __device__ static T result(Acc a) { const double exact = a.sum + a.rest; return exact != exact ? a.sum : exact; }
};
template <class U, class A> struct SumPlain {  // A: the type that is added up in
  typedef A Acc; typedef U T;
  __device__ static Acc start() { return 0; }
  __device__ static Acc take(Acc a, T x) { return a + x; }
  __device__ static Acc join(Acc a, Acc b) { return a + b; }
  __device__ static T result(Acc a) { return (T)a; }
};
template <class A> using SumF32 = SumPlain<float, A>;
template <class U, class A> struct ProdFloat {
  typedef A Acc; typedef U T;
  __device__ static Acc start() { return 1; }
  __device__ static Acc take(Acc a, T x) { return a * x; }
  __device__ static Acc join(Acc a, Acc b) { return a * b; }
  __device__ static T result(Acc a) { return (T)a; }
};
template <class U, class W> struct SumInt {  // W: an unsigned type in which it wraps
  typedef U Acc; typedef U T;
  __device__ static Acc start() { return 0; }
  __device__ static Acc take(Acc a, T x) { return (T)((W)a + (W)x); }
  __device__ static Acc join(Acc a, Acc b) { return take(a, b); }
  __device__ static T result(Acc a) { return a; }
};
template <class U, class W> struct ProdInt {
  typedef U Acc; typedef U T;
  __device__ static Acc start() { return 1; }
  __device__ static Acc take(Acc a, T x) { return (T)((W)a * (W)x); }
  __device__ static Acc join(Acc a, Acc b) { return take(a, b); }
  __device__ static T result(Acc a) { return a; }
};
// NaN if there is one
template <class U> __device__ __forceinline__ U larger(U a, U b) { return a != a ? a : b != b ? b : a < b ? b : a; }
template <class U> __device__ __forceinline__ U smaller(U a, U b) { return a != a ? a : b != b ? b : b < a ? b : a; }
// +0 is larger than -0, so that the order does not matter
template <> __device__ __forceinline__ float larger(float a, float b) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  float c;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(c) : "f"(a), "f"(b));  // NaN if there is one, and -0 below +0
  return c;
#else
  return a != a ? a : b != b ? b : a == b ? (signbit(a) ? b : a) : a < b ? b : a;
#endif
}
template <> __device__ __forceinline__ double larger(double a, double b) {
  return a != a ? a : b != b ? b : a == b ? (signbit(a) ? b : a) : a < b ? b : a;
}
template <> __device__ __forceinline__ float smaller(float a, float b) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  float c;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(c) : "f"(a), "f"(b));  // NaN if there is one, and -0 below +0
  return c;
#else
  return a != a ? a : b != b ? b : a == b ? (signbit(a) ? a : b) : b < a ? b : a;
#endif
}
template <> __device__ __forceinline__ double smaller(double a, double b) {
  return a != a ? a : b != b ? b : a == b ? (signbit(a) ? a : b) : b < a ? b : a;
}
template <class U, int N> __device__ __forceinline__ U largest(const U (&x)[N]) {
  U most = x[0];
#pragma unroll
  for (int k = 1; k < N; ++k) most = larger(most, x[k]);
  return most;
}
template <class U, class L> struct MaxOf {  // L: gives the lowest number
  typedef U Acc; typedef U T;
  __device__ static Acc start() { return L::number(); }
  __device__ static Acc take(Acc a, T x) { return larger(a, x); }
  template <int N> __device__ static Acc take_all(Acc a, const T (&x)[N]) { return larger(a, largest(x)); }
  __device__ static Acc join(Acc a, Acc b) { return larger(a, b); }
  __device__ static T result(Acc a) { return a; }
};
template <class U, class L> struct MinOf {
  typedef U Acc; typedef U T;
  __device__ static Acc start() { return L::number(); }
  __device__ static Acc take(Acc a, T x) { return smaller(a, x); }
  __device__ static Acc join(Acc a, Acc b) { return smaller(a, b); }
  __device__ static T result(Acc a) { return a; }
};
// the sum of exp(x) over exp(the largest x), or over 1 where that is not finite; L: gives the lowest number
template <class U> struct Exponentials {
  double sum;     // of exp(x - base)
  U base, limit;  // what is larger than the limit becomes the base
  U most;
};
template <class U> __device__ __forceinline__ Exponentials<U> shuffled(Exponentials<U> a, int o) {
  return Exponentials<U>{shuffled(a.sum, o), shuffled(a.base, o), shuffled(a.limit, o), shuffled(a.most, o)};
}
__device__ __forceinline__ float exp_of(float x) { return expf(x); }
__device__ __forceinline__ double exp_of(double x) { return exp(x); }
template <class U> __device__ __forceinline__ U finite_or_0(U x) { return x - x == 0 ? x : (U)0; }
static __device__ __noinline__ double rescaled(double sum, double from, double to) {
  return sum == 0 || from == to ? sum : sum * exp(from - to);
}
template <class U, class L> struct ExpSum {
  typedef Exponentials<U> Acc; typedef U T;
  __device__ static Acc start() { return Acc{0, 0, L::number(), L::number()}; }
  __device__ static Acc take(Acc a, T x) {
    const T one[1] = {x};
    return take_all(a, one);
  }
  // the base is looked after once for all of them
  template <int N> __device__ static Acc take_all(Acc a, const T (&x)[N]) {
    const T most = largest(x);
    if (!(most <= a.limit)) {
      const T base = finite_or_0(larger(a.limit, most));
      a.sum = rescaled(a.sum, a.base, base);
      a.limit = larger(a.limit, most) + 1;
      a.base = base;
    }
#pragma unroll
    for (int k = 0; k < N; ++k) a.sum += exp_of(x[k] - a.base);
    a.most = larger(a.most, most);
    return a;
  }
  // one of the two has the base of both; which one does not depend on which comes first
  __device__ static Acc join(Acc a, Acc b) {
    const bool first = a.limit > b.limit || (a.limit == b.limit && a.base >= b.base);
    const T base = first ? a.base : b.base, other = first ? b.base : a.base;
    const double sum = (first ? a.sum : b.sum) + rescaled(first ? b.sum : a.sum, other, base);
    return Acc{sum, base, larger(a.limit, b.limit), larger(a.most, b.most)};
  }
  __device__ static T result(Acc a) { return (T)rescaled(a.sum, a.base, finite_or_0(a.most)); }
};
struct AnyOf {
  typedef bool Acc; typedef bool T;
  __device__ static Acc start() { return false; }
  __device__ static Acc take(Acc a, T x) { return a | x; }
  __device__ static Acc join(Acc a, Acc b) { return a | b; }
  __device__ static T result(Acc a) { return a; }
};
struct AllOf {
  typedef bool Acc; typedef bool T;
  __device__ static Acc start() { return true; }
  __device__ static Acc take(Acc a, T x) { return a & x; }
  __device__ static Acc join(Acc a, Acc b) { return a & b; }
  __device__ static T result(Acc a) { return a; }
};

// the accumulators of N neighbouring threads of a warp as one, in all of them; N is a power of two
template <class F, int N> __device__ __forceinline__ typename F::Acc over_lanes(typename F::Acc a) {
#pragma unroll
  for (int o = 1; o < N; o <<= 1) a = F::join(a, shuffled(a, o));
  return a;
}

// those of a row of N threads, which wait for each other, as one; `room` holds an accumulator for each warp
template <class F, int N, class Wait>
__device__ __forceinline__ typename F::Acc over_threads(typename F::Acc a, void* room, u32 thread, Wait wait) {
  if (N <= 32) return over_lanes<F, (N < 32 ? N : 32)>(a);
  typename F::Acc* kept = (typename F::Acc*)room;
  constexpr int warps = N > 32 ? N / 32 : 1;
  a = over_lanes<F, 32>(a);
  wait();
  if ((thread & 31) == 0) kept[thread >> 5] = a;
  wait();
  a = kept[thread & (warps - 1)];
  return over_lanes<F, warps>(a);
}
template <class F, int N> __device__ __forceinline__ typename F::Acc over_row(typename F::Acc a, void* room) {
  return over_threads<F, N>(a, room, threadIdx.x, [] { __syncthreads(); });
}

// shared memory of a block
#define ROOM(n) __shared__ double room[n]
"""


def unsigned(dtype: DType) -> str:
    """The unsigned type in which integers of a dtype wrap without undefined behaviour."""
    return "u64" if dtype.itemsize == 8 else "u32"


def fold_type(fold: Fold, dtype: DType, fast: bool) -> str:
    """The struct of a fold; `fast` adds single precision up in single precision."""
    kind = C_TYPES[dtype]
    if fold in ("any", "all"):
        return "AnyOf" if fold == "any" else "AllOf"
    if fold == "exp_sum":
        return f"ExpSum<{kind}, {_limit('max', dtype)}>"
    if fold == "plain_sum":
        return f"SumPlain<{kind}, {kind}>"
    if fold in ("max", "min"):
        if dtype == BOOL:
            return "AnyOf" if fold == "max" else "AllOf"
        return f"{'MaxOf' if fold == 'max' else 'MinOf'}<{kind}, {_limit(fold, dtype)}>"
    if dtype == BOOL:
        return "AnyOf" if fold == "sum" else "AllOf"
    if dtype.kind == "f":
        wide = "double" if dtype == F64 or not fast else "float"
        if fold == "prod":
            return f"ProdFloat<{kind}, {wide}>"
        if dtype == F64:
            return "SumF64"
        # half precision is rounded to once
        return f"SumPlain<f16, {wide}>" if dtype == F16 else f"SumF32<{wide}>"
    return f"{'SumInt' if fold == 'sum' else 'ProdInt'}<{kind}, {unsigned(dtype)}>"


def acc_bytes(fold: Fold, dtype: DType) -> int:
    """Bytes of a fold's accumulator, at most."""
    if fold == "exp_sum":
        return 8 + (16 if dtype == F32 else 24)
    if dtype.kind == "f" and fold in ("sum", "prod"):
        return 16 if dtype == F64 and fold == "sum" else 8
    return dtype.itemsize


def _limit(fold: Fold, dtype: DType) -> str:
    return f"{'Lowest' if fold == 'max' else 'Highest'}_{C_TYPES[dtype]}"


def _limits() -> str:
    lines = []
    for dtype, kind in C_TYPES.items():
        if dtype in (BOOL, F16):
            continue
        for fold in ("max", "min"):
            if dtype.kind == "f":
                sign = "-" if fold == "max" else ""
                number = f"{sign}({'__int_as_float(0x7f800000)' if dtype == F32 else f'{INFINITY}'})"
            else:
                info = np.iinfo(dtype)
                low = f"({info.min + 1}ll - 1)" if info.min < 0 else "0"
                number = (
                    f"({kind}){low}" if fold == "max" else f"({kind}){info.max}{'ull' if dtype.kind == 'u' else 'll'}"
                )
            name = _limit("max" if fold == "max" else "min", dtype)
            lines.append(f"struct {name} {{ __device__ static {kind} number() {{ return {number}; }} }};")
    return "\n".join(lines) + "\n"


INFINITY: Final = "__longlong_as_double(0x7ff0000000000000ll)"
PRELUDE: Final = TYPES + _limits() + FOLDS
