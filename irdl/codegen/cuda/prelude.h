// NumPy's meaning of what C leaves undefined or means differently. Every function is defined for all inputs.

#ifdef __CUDACC_RTC__ // NVRTC, which has no math.h
#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fc00000)
#endif
#ifndef IRDL_ALIGNED // what stands in for a GPU looks at what a GPU refuses
#define IRDL_ALIGNED(address, bytes)
#endif

namespace irdl {

template <class T> struct is_float { static constexpr bool value = false; };
template <> struct is_float<float> { static constexpr bool value = true; };
template <> struct is_float<double> { static constexpr bool value = true; };
template <class T> constexpr bool floating = is_float<T>::value;
template <class T> constexpr bool negatives = T(-1) < T(0);
template <class T> constexpr int bits = 8 * sizeof(T);
typedef unsigned long long wide;

// Integers wrap around.
template <class T> __device__ T add(T x, T y) { return T(wide(x) + wide(y)); }
template <class T> __device__ T sub(T x, T y) { return T(wide(x) - wide(y)); }
template <class T> __device__ T mul(T x, T y) { return T(wide(x) * wide(y)); }
template <class T> __device__ T fma(T x, T y, T z) { return add(mul(x, y), z); }
template <> __device__ inline float fma(float x, float y, float z) { return ::fmaf(x, y, z); }
template <> __device__ inline double fma(double x, double y, double z) { return ::fma(x, y, z); }

template <class T> __device__ T neg(T x) {
    if constexpr (floating<T>) return -x;
    else return T(0 - wide(x));
}
template <class T> __device__ T invert(T x) { return T(~x); }
template <> __device__ inline bool invert(bool x) { return !x; }
template <class T> __device__ T left_shift(T x, T y) { return y >= 0 && y < bits<T> ? T(wide(x) << y) : T(0); }
template <class T> __device__ T right_shift(T x, T y) { return y >= 0 && y < bits<T> ? T(x >> y) : T(x < 0 ? -1 : 0); }

template <class T> __device__ T sign(T x) { return x != x ? x : x > 0 ? T(1) : x < 0 ? T(-1) : T(0); }
template <class T> __device__ T maximum(T x, T y) { return x > y || x != x ? x : y; }
template <class T> __device__ T minimum(T x, T y) { return x < y || x != x ? x : y; }

#define IRDL_FLOATING(name, one, two)                              \
    __device__ inline float name(float x) { return ::one(x); }     \
    __device__ inline double name(double x) { return ::two(x); }
#define IRDL_FLOATING_2(name, one, two)                                              \
    __device__ inline float name(float x, float y) { return ::one(x, y); }           \
    __device__ inline double name(double x, double y) { return ::two(x, y); }
IRDL_FLOATING(floor, floorf, floor)
IRDL_FLOATING(ceil, ceilf, ceil)
IRDL_FLOATING(trunc, truncf, trunc)
IRDL_FLOATING(rint, rintf, rint)
IRDL_FLOATING(sqrt, sqrtf, sqrt)
IRDL_FLOATING(cbrt, cbrtf, cbrt)
IRDL_FLOATING(exp, expf, exp)
IRDL_FLOATING(exp2, exp2f, exp2)
IRDL_FLOATING(expm1, expm1f, expm1)
IRDL_FLOATING(log, logf, log)
IRDL_FLOATING(log2, log2f, log2)
IRDL_FLOATING(log10, log10f, log10)
IRDL_FLOATING(log1p, log1pf, log1p)
IRDL_FLOATING(sin, sinf, sin)
IRDL_FLOATING(cos, cosf, cos)
IRDL_FLOATING(tan, tanf, tan)
IRDL_FLOATING(arcsin, asinf, asin)
IRDL_FLOATING(arccos, acosf, acos)
IRDL_FLOATING(arctan, atanf, atan)
IRDL_FLOATING(sinh, sinhf, sinh)
IRDL_FLOATING(cosh, coshf, cosh)
IRDL_FLOATING(arcsinh, asinhf, asinh)
IRDL_FLOATING(arccosh, acoshf, acosh)
IRDL_FLOATING(arctanh, atanhf, atanh)
IRDL_FLOATING(tanh, tanhf, tanh)
IRDL_FLOATING(erf, erff, erf)
IRDL_FLOATING_2(arctan2, atan2f, atan2)
IRDL_FLOATING_2(power, powf, pow)
IRDL_FLOATING_2(copysign, copysignf, copysign)
IRDL_FLOATING_2(fmax, fmaxf, fmax)
IRDL_FLOATING_2(fmin, fminf, fmin)

template <class T> __device__ T sigmoid(T x) {
    const T small = exp(x < 0 ? x : -x);
    return (x < 0 ? small : T(1)) / (T(1) + small);
}
template <class T> __device__ T abs(T x) {
    if constexpr (floating<T>) return copysign(x, T(1));
    else return x < 0 ? neg(x) : x;
}

// Division rounds down, and by zero gives 0 for integers; the remainder has the divisor's sign.
template <class T> __device__ T fmod(T x, T y) {
    if constexpr (floating<T>) return T(sizeof(T) == 4 ? ::fmodf(x, y) : ::fmod(x, y));
    else return y == 0 || (negatives<T> && y == T(-1)) ? T(0) : T(x % y);
}
template <class T> __device__ T remainder(T x, T y) {
    T mod = fmod(x, y);
    if constexpr (floating<T>) {
        if (mod == 0) return copysign(T(0), y);
        return y != 0 && (y < 0) != (mod < 0) ? mod + y : mod;
    } else return mod != 0 && (mod < 0) != (y < 0) ? T(mod + y) : mod;
}
template <class T> __device__ T floor_divide(T x, T y) {
    if constexpr (floating<T>) {
        if (y == 0) return x / y;
        const T mod = fmod(x, y);
        T quotient = (x - mod) / y;
        if (mod != 0 && (y < 0) != (mod < 0)) quotient -= 1;
        if (quotient == 0) return copysign(T(0), x / y);
        const T down = floor(quotient);
        return quotient - down > T(0.5) ? down + 1 : down;
    } else {
        if (y == 0) return T(0);
        if (negatives<T> && y == T(-1)) return neg(x);
        return T(x / y - (x % y != 0 && (x < 0) != (y < 0)));
    }
}

// A float that does not fit an integer gives the lowest number of the type that x86 converts in, as NumPy shows there.
template <class I, class F> __device__ I whole(F x) {
    const F limit = F(wide(1) << (bits<I> - 1));
    const bool low = sizeof(F) == 8 && sizeof(I) == 4 ? x > -limit - 1 : x >= -limit;
    return low && x < limit ? I(x) : I(wide(1) << (bits<I> - 1));
}

// Floats of 16 bits are only kept: a number of one is made a float, and a float the nearest of them, ties to even.
struct float16 { unsigned short bits; };
struct bfloat16 { unsigned short bits; };
template <class T> struct is_half { static constexpr bool value = false; };
template <> struct is_half<float16> { static constexpr bool value = true; };
template <> struct is_half<bfloat16> { static constexpr bool value = true; };
template <class T> constexpr bool half = is_half<T>::value;
template <class To, class From> __device__ To same_bits(From x) {
    To found;
    memcpy(&found, &x, sizeof x);
    return found;
}
__device__ inline float widen(float16 x) {
#ifdef CUDA_ON_CPU
    return float(same_bits<_Float16>(x));
#else
    float found;
    asm("cvt.f32.f16 %0, %1;" : "=f"(found) : "h"(x.bits));
    return found;
#endif
}
__device__ inline float widen(bfloat16 x) { return same_bits<float>(unsigned(x.bits) << 16); }
template <class T> __device__ T narrow(float x);
template <> __device__ inline float16 narrow<float16>(float x) {
#ifdef CUDA_ON_CPU
    return same_bits<float16>(_Float16(x));
#else
    float16 found;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(found.bits) : "f"(x));
    return found;
#endif
}
template <> __device__ inline bfloat16 narrow<bfloat16>(float x) {
#if !defined(CUDA_ON_CPU) && __CUDA_ARCH__ >= 800
    bfloat16 found;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(found.bits) : "f"(x));
    return found;
#else
    const unsigned bits = same_bits<unsigned>(x);
    return {(unsigned short)(x != x ? bits >> 16 | 0x40 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
#endif
}

template <class To, class From> __device__ To cast(From x) {
    if constexpr (half<From>) return cast<To>(widen(x));
    else if constexpr (half<To>) return narrow<To>(cast<float>(x));
    else if constexpr (!floating<From> || floating<To>) return To(x);
    else if constexpr (sizeof(To) == 1 && To(2) == To(1)) return x != 0; // bool
    else if constexpr (sizeof(To) == 8 && !negatives<To>) {
        const From limit = From(9223372036854775808.0);
        return x >= limit ? To(whole<long long>(x - limit)) ^ (To(1) << 63) : To(whole<long long>(x));
    } else if constexpr (sizeof(To) == 8 || (sizeof(To) == 4 && !negatives<To>)) return To(whole<long long>(x));
    else return To(whole<int>(x));
}

__device__ inline unsigned float_to_bits(float x) { return same_bits<unsigned>(x); }
__device__ inline wide float_to_bits(double x) { return same_bits<wide>(x); }
__device__ inline float bits_to_float(unsigned x) { return same_bits<float>(x); }
__device__ inline double bits_to_float(wide x) { return same_bits<double>(x); }

// N neighbours from memory, or there, in one access of up to 16 bytes, at a multiple of its size.
template <class T, int N> struct alignas(N * sizeof(T)) run { T item[N]; };
template <int N, class T> __device__ inline void load(T* registers, const T* memory) {
    IRDL_ALIGNED(memory, N * sizeof(T));
    const run<T, N> found = *reinterpret_cast<const run<T, N>*>(memory);
#pragma unroll
    for (int k = 0; k < N; ++k) registers[k] = found.item[k];
}
template <int N, class T> __device__ inline void store(T* memory, const T* registers) {
    IRDL_ALIGNED(memory, N * sizeof(T));
    run<T, N> given;
#pragma unroll
    for (int k = 0; k < N; ++k) given.item[k] = registers[k];
    *reinterpret_cast<run<T, N>*>(memory) = given;
}

// Floats of 16 bits of a thread, of which registers hold two each. Places are known when code is made.
template <class T, int N> struct pairs { unsigned word[(N + 1) / 2]; };
template <class T, int N> __device__ inline T get(const pairs<T, N>& from, int place) {
    return {(unsigned short)(place % 2 ? from.word[place / 2] >> 16 : from.word[place / 2])};
}
template <class T, int N> __device__ inline void put(pairs<T, N>& to, int place, T x) {
    unsigned& word = to.word[place / 2];
    word = place % 2 ? (word & 0xffff) | unsigned(x.bits) << 16 : (word & 0xffff0000) | x.bits;
}
// 0, of which compilers do not know that it is: what is made with it in a step of a loop, of fewer than 2^31, they do not make before that.
__device__ inline unsigned nothing(int step) {
#ifdef CUDA_ON_CPU
    return unsigned(step) >> 31;
#else
    unsigned found;
    asm volatile("shr.u32 %0, %1, 31;" : "=r"(found) : "r"(step));
    return found;
#endif
}
// Widened in the step that needs it: ahead of the loop it would take a register for each.
template <class T, int N> __device__ inline float widen(const pairs<T, N>& from, int place, unsigned nothing) {
    unsigned word = from.word[place / 2];
#ifdef CUDA_ON_CPU
    word ^= nothing;
#else
    asm("xor.b32 %0, %1, %2;" : "=r"(word) : "r"(from.word[place / 2]), "r"(nothing));
#endif
    return widen(T{(unsigned short)(place % 2 ? word >> 16 : word)});
}
template <int COUNT, class T, int N> __device__ inline void load(pairs<T, N>& to, int place, const T* memory) {
    T found[COUNT];
    load<COUNT>(found, memory);
#pragma unroll
    for (int k = 0; k < COUNT; ++k) put(to, place + k, found[k]);
}
template <int COUNT, class T, int N> __device__ inline void store(T* memory, const pairs<T, N>& from, int place) {
    T given[COUNT];
#pragma unroll
    for (int k = 0; k < COUNT; ++k) given[k] = get(from, place + k);
    store<COUNT>(memory, given);
}

// An index made non-negative; the first that is out of range is reported: that there is one, the index, and where.
__device__ inline long long check(long long index, long long extent, long long code, unsigned long long* status) {
    const long long place = index < 0 ? index + extent : index;
    if (0 <= place && place < extent) return place;
    if (atomicExch(status, 1ull) == 0) status[1] = index, status[2] = code;
    return 0;
}

// What a block did before it arrives, those see that await it.
__device__ inline void arrive(unsigned* count) {
#ifdef CUDA_ON_CPU
    __atomic_fetch_add(count, 1u, __ATOMIC_RELEASE);
#else
    asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(count) : "memory");
#endif
}
__device__ inline void await(unsigned* count, unsigned wanted) {
    unsigned arrived;
    do {
#ifdef CUDA_ON_CPU
        arrived = __atomic_load_n(count, __ATOMIC_ACQUIRE);
        if (int(arrived - wanted) < 0) __nanosleep(20);
#else
        asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(arrived) : "l"(count) : "memory");
#endif
    } while (int(arrived - wanted) < 0);
}

// Lets no thread of some blocks pass before all have come. `count` starts from 0, and the blocks run at once.
__device__ inline void meet(unsigned* count, unsigned blocks, unsigned& met) {
    __syncthreads();
    met += blocks;
    if (threadIdx.x == 0) {
        arrive(count);
        await(count, met);
    }
    __syncthreads();
}
__device__ inline void grid_barrier(unsigned* count, unsigned& passed) { meet(count, gridDim.x, passed); }

} // namespace irdl
