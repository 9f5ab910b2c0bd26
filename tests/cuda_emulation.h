// CUDA C++ on the processor: blocks run one after another, threads of a block are coroutines.
//
// A warp runs as far as it can before the next one starts, and which one starts depends on `order`: code that lacks a
// barrier then reads what was not written yet. Threads that wait for each other for ever are reported.
#pragma once
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __noinline__
#define __shared__ static  // of one block at a time
#define __constant__ static
#define __launch_bounds__(...)

struct Index3 { unsigned x = 0, y = 0, z = 0; };
inline Index3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulation {
enum class State { ready, at_barrier, in_warp, done };
struct Thread { ucontext_t context; Index3 index; State state; unsigned barrier, expected; };
inline std::vector<Thread> threads;
inline ucontext_t scheduler;
inline int current, order;
inline std::function<void()> body;
inline std::unique_ptr<char[]> stacks;
constexpr size_t STACK = 256 << 10;
constexpr int WARP = 32;
// what lanes hand to each other; two sets, since a fast warp may be one exchange ahead
inline uint64_t exchanged[2][1024][2];
inline int turn[1024];

// half precision by its definition: a count of units in the last place, halfway to even
inline uint16_t half_of(double x) {
  const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
  const double size = std::fabs(x);
  if (std::isnan(x)) return sign | 0x7e00;
  if (size >= 65520) return sign | 0x7c00;
  const int exponent = size < 0x1p-14 ? -14 : std::ilogb(size);
  const int count = (int)std::nearbyint(std::ldexp(size, 10 - exponent));  // 2048 is the next exponent's first
  return sign | (uint16_t)(((exponent + 14) << 10) + count);
}
inline float from_half(uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const float size = exponent == 31 ? (fraction ? NAN : INFINITY)
                     : exponent     ? std::ldexp(float(1024 + fraction), exponent - 25)
                                    : std::ldexp(float(fraction), -24);
  return bits & 0x8000 ? -size : size;
}

inline void wait(State state, unsigned barrier = 0, unsigned expected = 0) {
  threads[current].state = state;
  threads[current].barrier = barrier;
  threads[current].expected = expected;
  swapcontext(&threads[current].context, &scheduler);
}
inline void entry() { body(); threads[current].state = State::done; }
inline void resume(int thread) {
  current = thread;
  threadIdx = threads[thread].index;
  swapcontext(&scheduler, &threads[thread].context);
}

// every lane of a warp to its next stop; again while all of them wait for each other
inline void run_warp(int first, int last) {
  for (bool again = true; again;) {
    again = false;
    for (int k = first; k < last; ++k) {
      const int thread = order & 1 ? first + last - 1 - k : k;
      if (threads[thread].state == State::ready) resume(thread);
    }
    int waiting = 0, ended = 0;
    for (int k = first; k < last; ++k) {
      waiting += threads[k].state == State::in_warp;
      ended += threads[k].state == State::done;
    }
    // a warp with lanes that have ended cannot complete an exchange among all lanes
    if (waiting == last - first) {
      again = true;
      for (int k = first; k < last; ++k) threads[k].state = State::ready;
    }
  }
}

inline bool run_block() {
  const int count = blockDim.x * blockDim.y, warps = (count + WARP - 1) / WARP;
  for (int k = 0; k < count; ++k) {
    Thread& t = threads[k];
    getcontext(&t.context);
    t.context.uc_stack.ss_sp = stacks.get() + STACK * k;
    t.context.uc_stack.ss_size = STACK;
    t.context.uc_link = &scheduler;
    t.state = State::ready;
    t.index = Index3{k % blockDim.x, k / blockDim.x, 0};
    makecontext(&t.context, entry, 0);
  }
  std::memset(turn, 0, sizeof turn);
  for (;;) {
    for (int k = 0; k < warps; ++k) {
      const int warp = order == 0 ? k : order == 1 ? warps - 1 - k : (k * 7 + (int)blockIdx.x + order) % warps;
      run_warp(WARP * warp, std::min(count, WARP * (warp + 1)));
    }
    int at_barrier[16] = {}, ended = 0;
    for (const Thread& t : threads) {
      if (t.state == State::at_barrier) ++at_barrier[t.barrier];
      ended += t.state == State::done;
    }
    if (ended == count) return true;
    bool stuck = true;
    for (Thread& t : threads) {
      const int expected = t.expected ? t.expected : count;
      if (t.state == State::at_barrier && at_barrier[t.barrier] == expected) {
        t.state = State::ready;
        stuck = false;
      }
    }
    if (stuck) {
      std::fprintf(stderr, "block %u,%u is stuck: of %d threads %d wait at the barrier of all, %d have ended\n",
                   blockIdx.x, blockIdx.y, count, at_barrier[0], ended);
      return false;
    }
  }
}

// 0 if the grid ran to its end. `alone`: threads need not wait for each other, and run as plain calls
inline int launch(const long long* shape, int chosen, bool alone, std::function<void()> f) {
  gridDim = Index3{(unsigned)shape[0], (unsigned)shape[1], 1};
  blockDim = Index3{(unsigned)shape[2], (unsigned)shape[3], 1};
  const unsigned count = blockDim.x * blockDim.y;
  if (!gridDim.x || !gridDim.y || gridDim.y > 65535 || !count || count > 1024 || count % WARP) return 2;
  order = chosen;
  body = f;
  threads.resize(count);
  if (!alone) stacks.reset(new char[STACK * count]);
  const long long blocks = (long long)gridDim.x * gridDim.y;
  for (long long k = 0; k < blocks; ++k) {
    // in order, from the last to the first, or every second one and then the others
    const long long half = (blocks + 1) / 2, turned = k < half ? 2 * k : 2 * (k - half) + 1;
    const long long block = order == 0 ? k : order == 1 ? blocks - 1 - k : turned;
    blockIdx.x = block % gridDim.x;
    blockIdx.y = block / gridDim.x;
    if (alone) {
      const int threads = blockDim.x * blockDim.y;
      for (int t = 0; t < threads; ++t) {
        const int thread = order == 0 ? t : threads - 1 - t;
        threadIdx.x = thread % blockDim.x;
        threadIdx.y = thread / blockDim.x;
        f();
      }
    } else if (!run_block()) {
      return 1;
    }
  }
  return 0;
}

template <class T> T exchange(T value, int lane) {
  static_assert(sizeof(T) <= sizeof(uint64_t), "a shuffle moves up to 8 bytes");
  const int me = current, set = turn[me] ^= 1;
  exchanged[set][me][0] = 0;
  std::memcpy(&exchanged[set][me][0], &value, sizeof value);
  wait(State::in_warp);
  T result;
  std::memcpy(&result, &exchanged[set][(me & ~(WARP - 1)) + lane][0], sizeof result);
  return result;
}
}  // namespace emulation

#ifdef WITHOUT_BARRIERS  // to see that the order of warps brings a missing one to light
inline void __syncthreads() {}
namespace emulation { inline void group_wait(unsigned, unsigned) {} }
#else
inline void __syncthreads() { emulation::wait(emulation::State::at_barrier); }
// some threads of a block, by one of its other barriers
namespace emulation {
inline void group_wait(unsigned barrier, unsigned count) { wait(State::at_barrier, barrier, count); }
}  // namespace emulation
#endif
template <class T> T __shfl_xor_sync(unsigned, T value, int mask) {
  return emulation::exchange(value, (emulation::current & (emulation::WARP - 1)) ^ mask);
}

template <class T> T __shfl_up_sync(unsigned, T value, int distance) {
  const int lane = emulation::current & (emulation::WARP - 1);
  return emulation::exchange(value, lane < distance ? lane : lane - distance);
}

// one thread runs at a time
template <class T> T atomicAdd(T* place, T value) { const T before = *place; *place += value; return before; }
template <class T> T atomicOr(T* place, T value) { const T before = *place; *place |= value; return before; }

inline unsigned __ballot_sync(unsigned, bool flag) {
  unsigned all = 0;
  for (int lane = 0; lane < emulation::WARP; ++lane) all |= (unsigned)emulation::exchange((int)flag, lane) << lane;
  return all;
}

template <class To, class From> To same_bits(From x) { To y; std::memcpy(&y, &x, sizeof y); return y; }
inline int __float_as_int(float x) { return same_bits<int>(x); }
inline float __int_as_float(int x) { return same_bits<float>(x); }
inline long long __double_as_longlong(double x) { return same_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return same_bits<double>(x); }
namespace emulation {
// the processor's approximations: a unit off in single precision where a test asks for it, 20 bits in double
#ifndef INVERSE_OFF_BY
#define INVERSE_OFF_BY 0
#endif
inline float flushed(float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; }
inline float near_inverse(float b) {
  const float exact = flushed(1.0f / flushed(b));
  return std::isfinite(exact) && exact ? same_bits<float>(same_bits<int>(exact) + INVERSE_OFF_BY) : exact;
}
inline double near_inverse(double b) {
  const double exact = 1.0 / (std::fabs(b) < 0x1p-1022 ? std::copysign(0.0, b) : b);
  if (std::fabs(exact) < 0x1p-1022) return std::copysign(0.0, b);
  return same_bits<double>(same_bits<long long>(exact) & -(1ll << 32));
}
}  // namespace emulation
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return (unsigned long long)((unsigned __int128)a * b >> 64);
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
using std::signbit;
