// Semirings: a product, a sum with its identity, and the same sum on memory that other threads add to.
#pragma once

#include "../dispatch/simd.hpp"

namespace gossamer::spgemm {
inline namespace GOSSAMER_ISA {

template <class T>
struct Complex {
    T re, im;
};

template <class T>
struct Wrap { // signed overflow wraps, as in NumPy
    static GOSSAMER_INLINE T add(T a, T b) { return a + b; }
    static GOSSAMER_INLINE T mul(T a, T b) { return a * b; }
};
template <>
struct Wrap<std::int32_t> {
    static GOSSAMER_INLINE std::int32_t add(std::int32_t a, std::int32_t b) {
        return static_cast<std::int32_t>(static_cast<std::uint32_t>(a) + static_cast<std::uint32_t>(b));
    }
    static GOSSAMER_INLINE std::int32_t mul(std::int32_t a, std::int32_t b) {
        return static_cast<std::int32_t>(static_cast<std::uint32_t>(a) * static_cast<std::uint32_t>(b));
    }
};
template <>
struct Wrap<std::int64_t> {
    static GOSSAMER_INLINE std::int64_t add(std::int64_t a, std::int64_t b) {
        return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
    }
    static GOSSAMER_INLINE std::int64_t mul(std::int64_t a, std::int64_t b) {
        return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b));
    }
};
template <class T>
struct Wrap<Complex<T>> {
    static GOSSAMER_INLINE Complex<T> add(Complex<T> a, Complex<T> b) { return {a.re + b.re, a.im + b.im}; }
    static GOSSAMER_INLINE Complex<T> mul(Complex<T> a, Complex<T> b) {
        return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
    }
};

template <class T>
struct Extreme {
    static constexpr T highest = static_cast<T>(__builtin_inf()), lowest = static_cast<T>(-__builtin_inf());
};
template <>
struct Extreme<std::int32_t> {
    static constexpr std::int32_t highest = INT32_MAX, lowest = INT32_MIN;
};
template <>
struct Extreme<std::int64_t> {
    static constexpr std::int64_t highest = INT64_MAX, lowest = INT64_MIN;
};

template <class T>
struct PlusTimes {
    using Value = T;
    static constexpr bool reads = true;
    static constexpr T identity{};
    static GOSSAMER_INLINE T product(T a, T b) { return Wrap<T>::mul(a, b); }
    static GOSSAMER_INLINE T sum(T a, T b) { return Wrap<T>::add(a, b); }
};

template <class T>
struct MinPlus { // a NaN stays: it is chosen whenever it is met
    using Value = T;
    static constexpr bool reads = true;
    static constexpr T identity = Extreme<T>::highest;
    static GOSSAMER_INLINE T product(T a, T b) { return Wrap<T>::add(a, b); }
    static GOSSAMER_INLINE T sum(T a, T b) { return b < a || b != b ? b : a; }
};

template <class T>
struct MaxTimes {
    using Value = T;
    static constexpr bool reads = true;
    static constexpr T identity = Extreme<T>::lowest;
    static GOSSAMER_INLINE T product(T a, T b) { return Wrap<T>::mul(a, b); }
    static GOSSAMER_INLINE T sum(T a, T b) { return a < b || b != b ? b : a; }
};

struct OrAnd {
    using Value = std::uint8_t;
    static constexpr bool reads = true;
    static constexpr Value identity = 0;
    static GOSSAMER_INLINE Value product(Value a, Value b) { return a & b; }
    static GOSSAMER_INLINE Value sum(Value a, Value b) { return a | b; }
};

struct PlusPair { // counts products; the values are never read
    using Value = std::int64_t;
    static constexpr bool reads = false;
    static constexpr Value identity = 0;
    static GOSSAMER_INLINE Value product(Value, Value) { return 1; }
    static GOSSAMER_INLINE Value sum(Value a, Value b) { return a + b; }
};

struct Pattern { // the symbolic pass: no values at all
    using Value = std::uint8_t;
    static constexpr bool reads = false;
    static constexpr Value identity = 0;
    static GOSSAMER_INLINE Value product(Value, Value) { return 1; }
    static GOSSAMER_INLINE Value sum(Value, Value) { return 1; }
};

template <class Ring>
GOSSAMER_INLINE typename Ring::Value times(const void* a, std::int64_t p, const void* b, std::int64_t q) {
    using Value = typename Ring::Value;
    if constexpr (Ring::reads)
        return Ring::product(static_cast<const Value*>(a)[p], static_cast<const Value*>(b)[q]);
    else
        return Ring::product(Value{}, Value{});
}

template <int Bytes>
struct Word {
    using Bits = std::uint64_t;
};
template <>
struct Word<4> {
    using Bits = std::uint32_t;
};
template <>
struct Word<1> {
    using Bits = std::uint8_t;
};

// *p = sum(*p, value) by compare-and-swap on the bits; a complex sum is the sum of its parts.
template <class Ring, class Value>
GOSSAMER_INLINE void atomic_sum(Value* p, Value value) {
    using Bits = typename Word<sizeof(Value)>::Bits;
    Bits* word = reinterpret_cast<Bits*>(p);
    Bits seen = __atomic_load_n(word, __ATOMIC_RELAXED), next;
    do {
        Value old;
        std::memcpy(&old, &seen, sizeof old);
        const Value merged = Ring::sum(old, value);
        std::memcpy(&next, &merged, sizeof next);
    } while (!__atomic_compare_exchange_n(word, &seen, next, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
}
template <class Ring, class T>
GOSSAMER_INLINE void atomic_sum(Complex<T>* p, Complex<T> value) {
    atomic_sum<PlusTimes<T>>(&p->re, value.re);
    atomic_sum<PlusTimes<T>>(&p->im, value.im);
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::spgemm
