// The one template of the family; each <isa>.cpp includes it and exports its table.
#include "../dispatch/dense.hpp"
#include "../dispatch/exponential.hpp"
#include "../dispatch/parallel.hpp"
#include "../dispatch/scratch.hpp"
#include "transport.hpp"

#include <cmath>

namespace gossamer::transport {
inline namespace GOSSAMER_ISA {

using V = simd<double>;
inline constexpr int width = V::width;

// Below e^low a weight is zero: times a factor of e^-50 it would be a denormal number, on which CPUs are slow.
inline constexpr double low = -640, high = 700, smallest = 1e-280;

GOSSAMER_INLINE V::type weight(V::type z) {
    const auto e = exponential<double>(z > V::splat(high) ? V::splat(high) : z);
    return z < V::splat(low) ? V::type{} : e;
}

inline double* doubles(const Scratch& memory, std::int64_t part) {
    return reinterpret_cast<double*>(memory.part(static_cast<int>(part)));
}

inline void zero(double* to, std::int64_t count) {
    for (std::int64_t j = 0; j < count; ++j) to[j] = 0;
}

// z[j] = base + v[j] - eta c[i, from + j]; v may be null. One rounding after that of base + v: products are fused.
inline void fill(const Cost& cost, std::int64_t i, double base, const double* v, std::int64_t from, std::int64_t count,
                 double* z) {
    const auto finish = [&](const double* c) {
        if (v)
            for (std::int64_t j = 0; j < count; ++j) z[j] = (base + v[j]) - cost.eta * c[j];
        else
            for (std::int64_t j = 0; j < count; ++j) z[j] = base - cost.eta * c[j];
    };
    if (cost.c) return finish(cost.c + i * cost.m + from);
    constexpr std::int64_t step = 256;
    double c[step];
    for (std::int64_t end = from + count; from < end; from += step, z += step, v += v ? step : 0) {
        count = least(step, end - from);
        zero(c, count);
        for (std::int64_t k = 0; k < cost.d; ++k) {
            const double x = cost.x[i * cost.d + k];
            const double* y = cost.y + k * cost.m + from;
            if (cost.metric == Metric::cityblock)
                for (std::int64_t j = 0; j < count; ++j) c[j] += std::fabs(x - y[j]);
            else
                for (std::int64_t j = 0; j < count; ++j) c[j] += (x - y[j]) * (x - y[j]);
        }
        if (cost.metric == Metric::euclidean)
            for (std::int64_t j = 0; j < count; ++j) c[j] = __builtin_sqrt(c[j]);
        finish(c);
    }
}

// A row in whole vectors: the places behind the last column have weight zero.
inline void fill_padded(const Cost& cost, std::int64_t i, double base, const double* v, double* z) {
    fill(cost, i, base, v, 0, cost.m, z);
    for (std::int64_t j = cost.m; j % width; ++j) z[j] = -HUGE_VAL;
}

inline double largest(const double* z, std::int64_t padded) {
    auto top = V::load(z);
    for (std::int64_t j = width; j < padded; j += width) {
        const auto next = V::load(z + j);
        top = next > top ? next : top;
    }
    double all = top[0];
    for (int k = 1; k < width; ++k) all = top[k] > all ? top[k] : all;
    return all;
}

// z becomes e^(z - shift); returns the sum
inline double weights(double* z, std::int64_t padded, double shift) {
    typename V::type sum{};
    for (std::int64_t j = 0; j < padded; j += width) {
        const auto e = weight(V::load(z + j) - V::splat(shift));
        sum += e;
        V::store(z + j, e);
    }
    return V::sum(sum);
}

// to += factor * z
inline void add(double* to, const double* z, std::int64_t padded, double factor) {
    for (std::int64_t j = 0; j < padded; j += width) V::store(to + j, V::load(to + j) + V::splat(factor) * V::load(z + j));
}

// Calls a body out of line, so that one thread and several run the same instructions: inlined twice, its products could be
// fused with other sums.
template <class Body, class... Arguments>
__attribute__((noinline)) void call(const Body& body, Arguments&&... arguments) {
    body(arguments...);
}

// Runs body(first, last, buffer, sums, extra) over chunks of rows; sums (m) of the chunks are added in order, so are the
// extras.
template <class Body>
double over_chunks(std::int64_t n, std::int64_t m, std::int64_t work, int threads, double* sums, const Body& body) {
    const Cut cut = Cut::of(n, m);
    const std::int64_t padded = round_up(m, width);
    const int use = worthwhile_threads(work * n * m, threads);
    const Scratch partial((padded + 1) * 8, static_cast<int>(cut.chunks)), buffers(padded * 8, use);
    parallel_chunks_by_thread(cut.chunks, use, [&](std::int64_t chunk, int thread) {
        double* own = doubles(partial, chunk);
        zero(own, padded + 1);
        call(body, cut.first(chunk), cut.last(chunk), doubles(buffers, thread), own, own[padded]);
    });
    double extra = 0;
    if (sums) zero(sums, m);
    for (std::int64_t chunk = 0; chunk < cut.chunks; ++chunk) {
        const double* own = doubles(partial, chunk);
        extra += own[padded];
        for (std::int64_t j = 0; sums && j < m; ++j) sums[j] += own[j];
    }
    return extra;
}

// The same row by row: body(row, buffer, sums, extra).
template <class Body>
double over_rows(std::int64_t n, std::int64_t m, std::int64_t work, int threads, double* sums, const Body& body) {
    return over_chunks(n, m, work, threads, sums,
        [&](std::int64_t i, std::int64_t last, double* z, double* own, double& extra) {
            for (; i < last; ++i) body(i, z, own, extra);
        });
}

inline double column_logsumexp(const Cost& cost, const double* u, std::int64_t j) {
    double top = -HUGE_VAL, sum = 0, z;
    for (std::int64_t i = 0; i < cost.n; ++i) {
        fill(cost, i, u[i], nullptr, j, 1, &z);
        top = z > top ? z : top;
    }
    for (std::int64_t i = 0; i < cost.n; ++i) {
        fill(cost, i, u[i], nullptr, j, 1, &z);
        sum += std::exp(z - top);
    }
    return top + std::log(sum);
}

inline double log_step(const Cost& cost, const double* u, const double* v, const double* r, const double* c, double* u_new,
                       double* v_new, int threads) {
    const std::int64_t padded = round_up(cost.m, width);
    const double error = over_rows(cost.n, cost.m, 40, threads, v_new,
        [&](std::int64_t i, double* z, double* sums, double& wrong) {
            fill_padded(cost, i, 0, v, z);
            const double top = largest(z, padded), sum = weights(z, padded, top), lse = top + std::log(sum);
            wrong += std::fabs(std::exp(u[i] + lse) - r[i]);
            u_new[i] = std::log(r[i]) - lse;
            add(sums, z, padded, r[i] / sum);
        });
    // Rows sum to r now, so that no weight overflows; a column whose weights all vanish is looked at by itself.
    for (std::int64_t j = 0; j < cost.m; ++j)
        v_new[j] = v_new[j] > smallest ? v[j] + std::log(c[j] / v_new[j]) : std::log(c[j]) - column_logsumexp(cost, u_new, j);
    return error;
}

inline double plan(const Cost& cost, const double* u, const double* v, double* p, double* row_sums, double* column_sums,
                   int threads) {
    const std::int64_t padded = round_up(cost.m, width);
    return over_rows(cost.n, cost.m, 40, threads, column_sums,
        [&](std::int64_t i, double* z, double* sums, double& total) {
            fill_padded(cost, i, u[i], v, z);
            row_sums[i] = weights(z, padded, 0);
            total += row_sums[i];
            add(sums, z, padded, 1);
            if (p) std::memcpy(p + i * cost.m, z, static_cast<std::size_t>(cost.m) * 8);
        });
}

inline double inner(const Cost& cost, const double* u, const double* v, int threads) {
    const std::int64_t padded = round_up(cost.m, width);
    Cost raw = cost;
    raw.eta = -1;
    // the chunk's sums are not asked for: their place holds the costs of a row
    return over_rows(cost.n, cost.m, 40, threads, nullptr, [&](std::int64_t i, double* z, double* c, double& total) {
        fill(raw, i, 0, nullptr, 0, cost.m, c);
        fill_padded(cost, i, u[i], v, z);
        weights(z, padded, 0);
        typename V::type sum{};
        for (std::int64_t j = 0; j < padded; j += width) {
            const auto p = V::load(z + j), cp = V::load(c + j) * p;
            sum += p > typename V::type{} ? cp : V::type{}; // infinite costs have no weight
        }
        total += V::sum(sum);
    });
}

// Count neighbouring rows together: b and the sums are read once for all of them.
template <int Count>
inline double scale_rows(const double* k, std::int64_t m, const double* a, const double* b, const double* r, double* a_new,
                         double* sums) {
    typename V::type dots[Count][2] = {};
    double rest[Count] = {}, wrong = 0;
    std::int64_t j = 0;
    for (; j + 2 * width <= m; j += 2 * width)
        for (int i = 0; i < Count; ++i)
            for (int h = 0; h < 2; ++h) dots[i][h] += V::load(k + i * m + j + h * width) * V::load(b + j + h * width);
    for (; j < m; ++j)
        for (int i = 0; i < Count; ++i) rest[i] += k[i * m + j] * b[j];
    for (int i = 0; i < Count; ++i) {
        const double sum = V::sum(dots[i][0] + dots[i][1]) + rest[i];
        wrong += std::fabs(a[i] * sum - r[i]);
        a_new[i] = r[i] / sum;
    }
    for (j = 0; j + width <= m; j += width) {
        auto sum = V::load(sums + j);
        for (int i = 0; i < Count; ++i) sum += V::splat(a_new[i]) * V::load(k + i * m + j);
        V::store(sums + j, sum);
    }
    for (; j < m; ++j)
        for (int i = 0; i < Count; ++i) sums[j] += a_new[i] * k[i * m + j];
    return wrong;
}

inline double scale(const double* k, std::int64_t n, std::int64_t m, const double* a, const double* b, const double* r,
                    const double* c, double* a_new, double* b_new, int threads) {
    constexpr int rows = 4;
    const double error = over_chunks(n, m, 4, threads, b_new,
        [&](std::int64_t i, std::int64_t last, double*, double* sums, double& wrong) {
            for (; i + rows <= last; i += rows)
                wrong += scale_rows<rows>(k + i * m, m, a + i, b, r + i, a_new + i, sums);
            for (; i < last; ++i) wrong += scale_rows<1>(k + i * m, m, a + i, b, r + i, a_new + i, sums);
        });
    for (std::int64_t j = 0; j < m; ++j) b_new[j] = c[j] / b_new[j];
    return error;
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::transport

#include "entries.inl"
#include "schur.inl"

namespace gossamer::transport {
inline namespace GOSSAMER_ISA {

inline constexpr Table kernels{log_step, plan, inner, scale, count, collect, schur_cg};

} // namespace GOSSAMER_ISA
} // namespace gossamer::transport
