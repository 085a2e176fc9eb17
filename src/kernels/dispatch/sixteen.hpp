// Sixteen lanes of 32 bits, the width that linear, lscd, decoder and encoder are written in.
#pragma once

#include "avx2.hpp"
#include "neon.hpp"

namespace gossamer::inline GOSSAMER_ISA {

#if !defined(__AVX512F__)

#if defined(__AVX2__)
inline constexpr int part_lanes = 8;
#else
inline constexpr int part_lanes = 4;
#endif

// Vectors that the machine has, one by one: a variable of a vector type that it does not have lives in memory, this one
// in registers.
template <class T>
struct Sixteen {
    typedef T Part __attribute__((vector_size(4 * part_lanes)));
    static constexpr int parts = 16 / part_lanes;
    Part part[parts];

    template <class Body>
    static GOSSAMER_INLINE Sixteen each(const Body& body) {
        if constexpr (parts == 2)
            return {{body(0), body(1)}};
        else
            return {{body(0), body(1), body(2), body(3)}};
    }

    T& operator[](int lane) { return reinterpret_cast<T*>(part)[lane]; }
    T operator[](int lane) const { return part[lane / part_lanes][lane % part_lanes]; }

    template <class U> // the same bits
    GOSSAMER_INLINE explicit operator Sixteen<U>() const {
        return Sixteen<U>::each([&](int i) { return (typename Sixteen<U>::Part)part[i]; });
    }
    GOSSAMER_INLINE Sixteen operator-() const { return each([&](int i) { return -part[i]; }); }

#define GOSSAMER_LANES(op)                                                                                           \
    friend GOSSAMER_INLINE Sixteen operator op(Sixteen a, Sixteen b) {                                               \
        return each([&](int i) { return a.part[i] op b.part[i]; });                                                  \
    }                                                                                                                \
    friend GOSSAMER_INLINE Sixteen operator op(Sixteen a, T b) { return each([&](int i) { return a.part[i] op b; }); } \
    friend GOSSAMER_INLINE Sixteen operator op(T a, Sixteen b) { return each([&](int i) { return a op b.part[i]; }); } \
    GOSSAMER_INLINE Sixteen& operator op##=(Sixteen b) { return *this = *this op b; }                                \
    GOSSAMER_INLINE Sixteen& operator op##=(T b) { return *this = *this op b; }
    GOSSAMER_LANES(+)
    GOSSAMER_LANES(-)
    GOSSAMER_LANES(*)
    GOSSAMER_LANES(/)
    GOSSAMER_LANES(&)
#undef GOSSAMER_LANES
    GOSSAMER_INLINE Sixteen operator<<(int by) const { return each([&](int i) { return part[i] << by; }); }
    GOSSAMER_INLINE Sixteen operator>>(int by) const { return each([&](int i) { return part[i] >> by; }); }
    GOSSAMER_INLINE Sixteen<std::int32_t> operator<(Sixteen b) const {
        return Sixteen<std::int32_t>::each([&](int i) { return part[i] < b.part[i]; });
    }
    GOSSAMER_INLINE Sixteen<std::int32_t> operator>(Sixteen b) const { return b < *this; }
    GOSSAMER_INLINE Sixteen<std::int32_t> operator<(T b) const { return *this < splat(b); }
    GOSSAMER_INLINE Sixteen<std::int32_t> operator>(T b) const { return splat(b) < *this; }

    static GOSSAMER_INLINE Sixteen splat(T x) { return each([&](int) { return x - Part{}; }); }
};

using v16f = Sixteen<float>;
using v16i = Sixteen<std::int32_t>;
using v16u = Sixteen<std::uint32_t>;

template <class V, class T>
GOSSAMER_INLINE V load(const T* p) {
    V v;
    if constexpr (requires { v.part; })
        for (int i = 0; i < V::parts; ++i)
            std::memcpy(&v.part[i], reinterpret_cast<const char*>(p) + i * sizeof v.part[i], sizeof v.part[i]);
    else
        std::memcpy(&v, p, sizeof v);
    return v;
}

template <class T, class U>
GOSSAMER_INLINE void store(U* p, Sixteen<T> v) { // copied as bytes it would pass through other registers
    typedef T Anywhere __attribute__((vector_size(4 * part_lanes), aligned(1), may_alias));
    for (int i = 0; i < Sixteen<T>::parts; ++i) reinterpret_cast<Anywhere*>(p)[i] = v.part[i];
}

GOSSAMER_INLINE v16f splat(float x) { return v16f::splat(x); }
GOSSAMER_INLINE v16f select(v16i where, v16f a, v16f b) {
    return v16f::each([&](int i) { return where.part[i] ? a.part[i] : b.part[i]; });
}
GOSSAMER_INLINE v16f to_floats(v16i v) {
    return v16f::each([&](int i) { return __builtin_convertvector(v.part[i], v16f::Part); });
}
GOSSAMER_INLINE v16i to_integers(v16f v) {
    return v16i::each([&](int i) { return __builtin_convertvector(v.part[i], v16i::Part); });
}

#else

typedef float v16f __attribute__((vector_size(64)));
typedef std::int32_t v16i __attribute__((vector_size(64)));
typedef std::uint32_t v16u __attribute__((vector_size(64)));

template <class V, class T>
GOSSAMER_INLINE V load(const T* p) {
    V v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

template <class V, class T>
GOSSAMER_INLINE void store(T* p, V v) { std::memcpy(p, &v, sizeof v); }

GOSSAMER_INLINE v16f splat(float x) { return v16f{} + x; }
GOSSAMER_INLINE v16f select(v16i where, v16f a, v16f b) { return where ? a : b; }
GOSSAMER_INLINE v16f to_floats(v16i v) { return __builtin_convertvector(v, v16f); }
GOSSAMER_INLINE v16i to_integers(v16f v) { return __builtin_convertvector(v, v16i); }

#endif

// Sixteen values, those whose bit is set taken from `p` in order, zero elsewhere; sixteen values there are readable.
GOSSAMER_INLINE v16f expand(std::uint32_t bits, const float* p) {
#if defined(__AVX512F__)
    return (v16f)_mm512_maskz_expand_ps(static_cast<__mmask16>(bits), _mm512_loadu_ps(p));
#elif GOSSAMER_NEON
    return v16f::each([&](int i) { return expand_four(bits >> (4 * i) & 15u, p); });
#elif defined(__AVX2__)
    return v16f::each([&](int i) { return expand_eight(bits >> (8 * i) & 255u, p); });
#else
    v16f v{};
    for (; bits; bits &= bits - 1) v[__builtin_ctz(bits)] = *p++;
    return v;
#endif
}

} // namespace gossamer::inline GOSSAMER_ISA
