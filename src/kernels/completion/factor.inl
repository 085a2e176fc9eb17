// Triangular factors of one small problem: tiles of A^T A, blocked Cholesky, Householder by panels, triangular solves.
// Matrices have rows of `stride` numbers, whole vectors, zero beyond column k; column k is the right side.
#pragma once

#include "../dispatch/dense.hpp"

#include <cmath>

namespace gossamer::completion {
inline namespace GOSSAMER_ISA {

template <class Real>
constexpr std::int64_t aligned_down(std::int64_t i) { return i / simd<Real>::width * simd<Real>::width; }

template <class Real>
inline constexpr Real epsilon = sizeof(Real) == 8 ? Real(2.220446049250313e-16) : Real(1.1920929e-7);
// A^T A with a pivot below this part of its diagonal has lost two thirds of the digits.
template <class Real>
inline constexpr Real least_pivot = sizeof(Real) == 8 ? Real(3.7e-11) : Real(2.4e-5);

template <class Real>
void zero(Real* to, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) to[i] = 0;
}

// y[from:] += factor * x[from:], from a whole vector on
template <class Real>
GOSSAMER_INLINE void add(Real factor, const Real* x, std::int64_t from, std::int64_t stride, Real* y) {
    using V = simd<Real>;
    const auto f = V::splat(factor);
    for (std::int64_t c = from; c < stride; c += V::width) V::store(y + c, V::load(y + c) + f * V::load(x + c));
}

// g[r, c] += sign * sum_i a[i, r] a[i, c]
template <class Real, int Rows, int Vectors>
GOSSAMER_INLINE void outer(const Real* a, std::int64_t depth, std::int64_t stride, std::int64_t r, std::int64_t c,
                           Real sign, Real* g) {
    using V = simd<Real>;
    typename V::type sums[Rows][Vectors] = {};
    for (std::int64_t i = 0; i < depth; ++i) {
        const Real* row = a + i * stride;
        typename V::type wide[Vectors];
        for (int v = 0; v < Vectors; ++v) wide[v] = V::load(row + c + v * V::width);
        for (int q = 0; q < Rows; ++q) {
            const auto value = V::splat(row[r + q]);
            for (int v = 0; v < Vectors; ++v) sums[q][v] += value * wide[v];
        }
    }
    for (int q = 0; q < Rows; ++q)
        for (int v = 0; v < Vectors; ++v) {
            Real* to = g + (r + q) * stride + c + v * V::width;
            V::store(to, V::load(to) + V::splat(sign) * sums[q][v]);
        }
}

template <class Real, int Rows>
void outer_rows(const Real* a, std::int64_t depth, std::int64_t stride, std::int64_t r, Real sign, Real* g) {
    constexpr std::int64_t width = simd<Real>::width;
    std::int64_t c = aligned_down<Real>(r);
    for (; c + tile_vectors * width <= stride; c += tile_vectors * width)
        outer<Real, Rows, tile_vectors>(a, depth, stride, r, c, sign, g);
    for (; c < stride; c += width) outer<Real, Rows, 1>(a, depth, stride, r, c, sign, g);
}

// The upper part of rows [from, k) of g, with the right side: g += sign a^T a
template <class Real>
void add_gram(const Real* a, std::int64_t depth, std::int64_t stride, std::int64_t from, std::int64_t k, Real sign,
              Real* g) {
    std::int64_t r = from;
    for (; r + tile_rows <= k; r += tile_rows) outer_rows<Real, tile_rows>(a, depth, stride, r, sign, g);
    for (; r < k; ++r) outer_rows<Real, 1>(a, depth, stride, r, sign, g);
}

// g = R^T R in place, the right side becomes R^-T times it; false if a pivot is too small.
template <class Real>
bool cholesky(Real* g, std::int64_t k, std::int64_t stride) {
    constexpr std::int64_t block = 16;
    Real largest = 0;
    for (std::int64_t i = 0; i < k; ++i) largest = most(largest, g[i * stride + i]);
    const Real floor = least_pivot<Real> * largest;
    for (std::int64_t b = 0; b < k; b += block) {
        const std::int64_t end = least(k, b + block);
        for (std::int64_t i = b; i < end; ++i) {
            Real* row = g + i * stride;
            if (!(row[i] > floor)) return false;
            const Real inverse = 1 / std::sqrt(row[i]);
            for (std::int64_t c = i; c < stride; ++c) row[c] *= inverse;
            for (std::int64_t j = i + 1; j < end; ++j)
                add(-row[j], row, aligned_down<Real>(j), stride, g + j * stride);
        }
        add_gram(g + b * stride, end - b, stride, end, k, Real(-1), g);
    }
    for (std::int64_t i = 1; i < k; ++i) zero(g + i * stride, i);
    return true;
}

// R of [R; rows], by reflections; the rows become zero but for what the right side keeps. w is working memory.
template <class Real>
void absorb(Real* R, Real* rows, std::int64_t count, std::int64_t k, std::int64_t stride, Real* w) {
    for (std::int64_t c = 0; c < k; ++c) {
        Real square = 0;
        for (std::int64_t i = 0; i < count; ++i) square += rows[i * stride + c] * rows[i * stride + c];
        if (square == 0) continue;
        Real* top = R + c * stride;
        const Real length = std::sqrt(top[c] * top[c] + square), beta = top[c] > 0 ? -length : length;
        const Real first = top[c] - beta, tau = -first / beta;
        const std::int64_t from = aligned_down<Real>(c);
        for (std::int64_t j = from; j < stride; ++j) w[j] = top[j];
        for (std::int64_t i = 0; i < count; ++i) {
            Real* row = rows + i * stride;
            const Real v = row[c] / first;
            add(v, row, from, stride, w);
            row[c] = v;
        }
        add(-tau, w, from, stride, top);
        for (std::int64_t i = 0; i < count; ++i) {
            Real* row = rows + i * stride;
            const Real v = row[c];
            add(-tau * v, w, from, stride, row);
            row[c] = 0;
        }
        top[c] = beta;
    }
}

template <class Real>
bool full_rank(const Real* R, std::int64_t k, std::int64_t stride) {
    Real largest = 0, smallest = std::abs(R[0]);
    for (std::int64_t i = 0; i < k; ++i) {
        const Real pivot = std::abs(R[i * stride + i]);
        largest = most(largest, pivot);
        smallest = least(smallest, pivot);
    }
    return smallest > static_cast<Real>(8 * k) * epsilon<Real> * largest; // also false for NaN
}

// x = R^-1 y; y and x may be the same
template <class Real>
void solve_upper(const Real* R, std::int64_t k, std::int64_t stride, Real* x) {
    using V = simd<Real>;
    for (std::int64_t i = k - 1; i >= 0; --i) {
        const Real* row = R + i * stride;
        typename V::type sums{};
        std::int64_t c = least(k, aligned_down<Real>(i) + V::width);
        Real rest = 0;
        for (std::int64_t j = i + 1; j < c; ++j) rest += row[j] * x[j];
        for (; c + V::width <= k; c += V::width) sums += V::load(row + c) * V::load(x + c);
        for (; c < k; ++c) rest += row[c] * x[c];
        x[i] = (x[i] - rest - V::sum(sums)) / row[i];
    }
}

// x = R^-T y
template <class Real>
void solve_lower(const Real* R, std::int64_t k, std::int64_t stride, Real* x) {
    for (std::int64_t i = 0; i < k; ++i) {
        const Real* row = R + i * stride;
        x[i] /= row[i];
        const Real factor = -x[i];
        std::int64_t c = least(k, aligned_down<Real>(i) + simd<Real>::width);
        for (std::int64_t j = i + 1; j < c; ++j) x[j] += factor * row[j];
        for (; c + simd<Real>::width <= k; c += simd<Real>::width)
            simd<Real>::store(x + c, simd<Real>::load(x + c) + simd<Real>::splat(factor) * simd<Real>::load(row + c));
        for (; c < k; ++c) x[c] += factor * row[c];
    }
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::completion
