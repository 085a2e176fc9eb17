// Conjugate gradients on the Schur complement of a sparse Newton system, which is never formed.
#pragma once

#include "../dispatch/sparse_row.hpp"

namespace gossamer::transport {
inline namespace GOSSAMER_ISA {

// y[i] = body(i, sum over the entries of line i of value * x[index])
template <class Body>
void gather(std::int64_t lines, const std::int64_t* start, const std::int32_t* index, const double* value, const double* x,
            int threads, double* y, const Body& body) {
    constexpr std::int64_t step = 256;
    const auto part = [&](std::int64_t chunk) {
        for (std::int64_t i = chunk * step; i < least(lines, (chunk + 1) * step); ++i) {
            const std::int32_t* from = index + start[i];
            y[i] = body(i, sparse_dot(value + start[i], start[i + 1] - start[i], [from](std::int64_t k) { return from[k]; }, x));
        }
    };
    parallel_chunks(ceil_div(lines, step), worthwhile_threads(2 * start[lines], threads),
                    [&](std::int64_t chunk) { call(part, chunk); });
}

inline Solved schur_cg(const Hessian& h, const double* b, double* z, double rtol, std::int64_t maxiter, int threads) {
    const std::int64_t m = h.m;
    const Scratch memory((h.n + 4 * m) * 8, 1);
    double *t = doubles(memory, 0), *residual = t + h.n, *p = residual + m, *q = p + m, *inverse = q + m;
    for (std::int64_t j = 0; j < m; ++j) { // the diagonal, kept away from zero
        double taken = 0;
        for (std::int64_t k = h.column_start[j]; k < h.column_start[j + 1]; ++k)
            taken += h.by_column[k] * h.by_column[k] / h.row_sums[h.row[k]];
        inverse[j] = 1 / most(h.column_sums[j] - taken, 1e-3 * h.column_sums[j]);
        residual[j] = b[j];
        z[j] = 0;
        p[j] = 0;
    }
    const double norm = std::sqrt(dot(b, b, m));
    double rho = 0, size = norm;
    std::int64_t iteration = 0;
    for (; iteration < maxiter && size > rtol * norm; ++iteration) {
        const double before = rho;
        for (std::int64_t j = 0; j < m; ++j) q[j] = residual[j] * inverse[j];
        rho = dot(residual, q, m);
        const double turn = before > 0 ? rho / before : 0;
        for (std::int64_t j = 0; j < m; ++j) p[j] = q[j] + turn * p[j];
        gather(h.n, h.row_start, h.column, h.by_row, p, threads, t,
               [&](std::int64_t i, double sum) { return sum / h.row_sums[i]; });
        gather(m, h.column_start, h.row, h.by_column, t, threads, q,
               [&](std::int64_t j, double sum) { return h.column_sums[j] * p[j] - sum; });
        const double curvature = dot(p, q, m);
        if (!(curvature > 0)) break; // the system is singular to rounding
        const double step = rho / curvature;
        for (std::int64_t j = 0; j < m; ++j) {
            z[j] += step * p[j];
            residual[j] -= step * q[j];
        }
        size = std::sqrt(dot(residual, residual, m));
    }
    return {iteration, norm > 0 ? size / norm : 0};
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::transport
