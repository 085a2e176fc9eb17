// The one template of the family; each <isa>.cpp includes it and exports its table.
#include "../dispatch/exponential.hpp"
#include "../dispatch/parallel.hpp"
#include "contrast.hpp"

namespace gossamer::contrast {
inline namespace GOSSAMER_ISA {

inline constexpr std::int64_t tile = 128; // neighbours whose exponentials are taken together

// e_n = exp(tau s) for `count` neighbours of a row, 1 for the row itself
template <class Real>
void exponentials(const Points<Real>& points, std::int64_t row, const std::int32_t* neighbours, std::int64_t count, Real* e) {
    using V = simd<Real>;
    const Real* own = points.u + row * points.width;
    for (std::int64_t n = 0; n < count; ++n) {
        const std::int64_t j = neighbours[n];
        const Real* other = points.u + j * points.width;
        auto sum = V::load(own) * V::load(other);
        for (std::int64_t c = V::width; c < points.width; c += V::width) sum += V::load(own + c) * V::load(other + c);
        e[n] = j == row ? Real(0) : points.tau * V::sum(sum);
    }
    for (std::int64_t n = count; n < round_up(count, V::width); ++n) e[n] = 0;
    for (std::int64_t n = 0; n < count; n += V::width) V::store(e + n, exponential<Real>(V::load(e + n)));
}

template <class Real>
Real dot(const Real* a, const Real* b, std::int64_t count) {
    using V = simd<Real>;
    typename V::type sum{};
    std::int64_t n = 0;
    for (; n + V::width <= count; n += V::width) sum += V::load(a + n) * V::load(b + n);
    Real total = V::sum(sum);
    for (; n < count; ++n) total += a[n] * b[n];
    return total;
}

// Calls body(row) for all rows; hubs do not hold up the rest.
template <class Real, class Body>
void each_row(const Strengths<Real>& g, std::int64_t width, int threads, const Body& body) {
    constexpr std::int64_t rows_per_chunk = 32;
    const std::int64_t work = g.indptr[g.rows] * (2 * width + lanes);
    parallel_chunks(ceil_div(g.rows, rows_per_chunk), worthwhile_threads(work, threads), [&](std::int64_t chunk) {
        const std::int64_t last = least(g.rows, (chunk + 1) * rows_per_chunk);
        for (std::int64_t row = chunk * rows_per_chunk; row < last; ++row) body(row);
    });
}

template <class Real>
void sums(const Strengths<Real>& g, const Points<Real>& points, Real* p, int threads) {
    each_row(g, points.width, threads, [&](std::int64_t row) {
        Real e[tile];
        double total = 0;
        for (std::int64_t first = g.indptr[row]; first < g.indptr[row + 1]; first += tile) {
            const std::int64_t count = least(tile, g.indptr[row + 1] - first);
            exponentials(points, row, g.indices + first, count, e);
            total += static_cast<double>(dot(e, g.there + first, count));
        }
        p[row] = static_cast<Real>(total);
    });
}

template <class Real>
void gradient(const Strengths<Real>& g, const Points<Real>& points, const Real* slope, Real* to, int threads) {
    using V = simd<Real>;
    each_row(g, points.width, threads, [&](std::int64_t row) {
        Real e[tile];
        Real* out = to + row * points.width;
        for (std::int64_t c = 0; c < points.width; ++c) out[c] = 0;
        for (std::int64_t first = g.indptr[row]; first < g.indptr[row + 1]; first += tile) {
            const std::int64_t count = least(tile, g.indptr[row + 1] - first);
            const std::int32_t* neighbours = g.indices + first;
            exponentials(points, row, neighbours, count, e);
            for (std::int64_t n = 0; n < count; ++n) {
                const std::int64_t j = neighbours[n];
                const Real both = slope[row] * g.there[first + n] + slope[j] * g.back[first + n];
                e[n] *= j == row ? Real(0) : points.tau * both;
            }
            for (std::int64_t c = 0; c < points.width; c += V::width) {
                auto sum = V::load(out + c);
                for (std::int64_t n = 0; n < count; ++n)
                    sum += V::splat(e[n]) * V::load(points.u + neighbours[n] * points.width + c);
                V::store(out + c, sum);
            }
        }
    });
}

inline constexpr Table kernels{sums<float>, sums<double>, gradient<float>, gradient<double>};

} // namespace GOSSAMER_ISA
} // namespace gossamer::contrast
