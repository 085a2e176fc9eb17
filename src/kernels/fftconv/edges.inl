// Between rows in memory and the working array: conversion, gates and the direct term on the way.
#include "fftconv.hpp"
#include "passes.inl"

namespace gossamer::fftconv {
inline namespace GOSSAMER_ISA {

inline float widen(bfloat16 x) {
    const std::uint32_t bits = static_cast<std::uint32_t>(x) << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}
inline float widen(float x) { return x; }
inline double widen(double x) { return x; }

inline void narrow(float x, float& to) { to = x; }
inline void narrow(double x, double& to) { to = x; }
inline void narrow(float x, bfloat16& to) { // to even
    std::uint32_t bits;
    std::memcpy(&bits, &x, 4);
    to = static_cast<bfloat16>(x != x ? 0x7fc0u : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

template <class Real>
GOSSAMER_INLINE typename simd<Real>::type load_held(const Real* p) { return simd<Real>::load(p); }
template <class Real>
GOSSAMER_INLINE void store_held(Real* p, typename simd<Real>::type v) { simd<Real>::store(p, v); }

typedef std::uint16_t Halves __attribute__((vector_size(vector_bytes / 2)));
typedef std::uint32_t Bits __attribute__((vector_size(vector_bytes)));

template <class Real>
GOSSAMER_INLINE simd<float>::type load_held(const bfloat16* p) {
    Halves raw;
    std::memcpy(&raw, p, sizeof raw);
    return (simd<float>::type)(__builtin_convertvector(raw, Bits) << 16);
}
template <class Real>
GOSSAMER_INLINE void store_held(bfloat16* p, simd<float>::type v) {
    const Bits bits = (Bits)v, rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    const Halves raw = __builtin_convertvector(v == v ? rounded : Bits{} + 0x7fc0u, Halves);
    std::memcpy(p, &raw, sizeof raw);
}

// One half of what is loaded, real or imaginary parts: x times gate at places from `first` to `length`, zero elsewhere.
template <class Held>
struct Source {
    const Held *x, *gate; // of the first place
    std::int64_t length, first = 0;
};

template <class Real, class Held>
Real value(const Source<Held>& from, std::int64_t n) {
    n -= from.first;
    return from.gate ? widen(from.x[n]) * widen(from.gate[n]) : widen(from.x[n]);
}

// `count` vectors from n on, to real or imaginary parts of cells.
template <class Real, class Held>
void fetch(const Source<Held>& from, std::int64_t n, Real* to, std::int64_t count) {
    constexpr int W = lanes<Real>;
    for (; count; --count, n += W, to += 2 * W) {
        if (n >= from.first && n + W <= from.length) {
            const auto x = load_held<Real>(from.x + (n - from.first));
            simd<Real>::store(to, from.gate ? x * load_held<Real>(from.gate + (n - from.first)) : x);
        } else if (n >= from.length || n + W <= from.first) {
            simd<Real>::store(to, typename simd<Real>::type{});
        } else {
            for (int i = 0; i < W; ++i)
                to[i] = n + i >= from.first && n + i < from.length ? value<Real>(from, n + i) : Real(0);
        }
    }
}

// One half of what is stored: y = gate v + factor add, and other = other_gate v, at places from `first` to `length`.
template <class Real, class Held>
struct Sink {
    Held* y; // this and the others: of the first place
    const Held *gate, *add;
    Real factor;
    Held* other;
    const Held* other_gate;
    std::int64_t length, first = 0;
};

template <class Real, class Held>
void put_one(const Sink<Real, Held>& to, std::int64_t n, Real v) {
    n -= to.first;
    Real y = to.gate ? v * widen(to.gate[n]) : v;
    if (to.add) y += to.factor * widen(to.add[n]);
    narrow(y, to.y[n]);
    if (to.other) narrow(v * widen(to.other_gate[n]), to.other[n]);
}

template <class Real, class Held>
void put(const Sink<Real, Held>& to, std::int64_t n, const Real* from, std::int64_t count) {
    using V = simd<Real>;
    constexpr int W = lanes<Real>;
    for (; count; --count, n += W, from += 2 * W) {
        if (n >= to.first && n + W <= to.length) {
            const std::int64_t at = n - to.first;
            const auto v = V::load(from);
            auto y = to.gate ? v * load_held<Real>(to.gate + at) : v;
            if (to.add) y += V::splat(to.factor) * load_held<Real>(to.add + at);
            store_held<Real>(to.y + at, y);
            if (to.other) store_held<Real>(to.other + at, v * load_held<Real>(to.other_gate + at));
        } else if (n < to.length && n + W > to.first) {
            for (int i = 0; i < W && n + i < to.length; ++i)
                if (n + i >= to.first) put_one(to, n + i, from[i]);
        }
    }
}

// Cells of a sub-block that are taken through an edge at a time: R times as many stay in the first-level cache.
template <class Real>
inline constexpr std::int64_t edge_cells = lanes<Real> < 4 ? lanes<Real> : 4;

// The first pass, on two halves; a second one of no length makes the rows real.
template <class Real, class Held>
void enter(const View<Real>& plan, const Source<Held>* from, Real* work) {
    const Level& first = plan.levels[0];
    const Real* constants = plan.constants + first.constants;
    const bool complex = from[1].length > 0;
    const auto run = complex ? pick_pass<Real, false>(first.radix) : pick_pass<Real, false, true>(first.radix);
    const std::int64_t apart = offset<Real>(first.cells, true), row = first.cells * lanes<Real>;
    for (std::int64_t cell = 0; cell < first.cells; cell += edge_cells<Real>) {
        Real* at = work + offset<Real>(cell / lanes<Real> * lanes<Real>, true) + 2 * lanes<Real> * (cell % lanes<Real>);
        for (int j = 0; j < first.radix; ++j) {
            const std::int64_t n = cell * lanes<Real> + j * row;
            fetch(from[0], n, at + j * apart, edge_cells<Real>);
            if (complex) fetch(from[1], n, at + j * apart + lanes<Real>, edge_cells<Real>);
        }
        run(at, constants, apart, edge_cells<Real>);
    }
}

// The last pass.
template <class Real, class Held>
void leave(const View<Real>& plan, Real* work, const Sink<Real, Held>* to) {
    const Level& first = plan.levels[0];
    const Real* constants = plan.constants + first.constants;
    const bool complex = to[1].length > 0;
    const auto run = complex ? pick_pass<Real, true>(first.radix) : pick_pass<Real, true, true>(first.radix);
    const std::int64_t apart = offset<Real>(first.cells, true), row = first.cells * lanes<Real>;
    for (std::int64_t cell = 0; cell < first.cells; cell += edge_cells<Real>) {
        Real* at = work + offset<Real>(cell / lanes<Real> * lanes<Real>, true) + 2 * lanes<Real> * (cell % lanes<Real>);
        run(at, constants, apart, edge_cells<Real>);
        for (int j = 0; j < first.radix; ++j) {
            const std::int64_t n = cell * lanes<Real> + j * row;
            put(to[0], n, at + j * apart, edge_cells<Real>);
            if (complex) put(to[1], n, at + j * apart + lanes<Real>, edge_cells<Real>);
        }
    }
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::fftconv
