// Entropic transport: P_ij = exp(u_i + v_j - eta c_ij), read from memory or made again a row at a time.
// Flops about 30 an entry where exponentials are taken, 4 a scaling step; bytes 8 an entry, none for costs of points.
#pragma once

#include <cstdint>
#include <vector>

namespace gossamer::transport {

enum class Metric { stored, sqeuclidean, euclidean, cityblock };

struct Cost { // a view
    std::int64_t n, m, d;
    const double* c; // (n, m), or null: then it is the distance of points
    const double* x; // (n, d)
    const double* y; // (d, m)
    Metric metric;
    double eta;
};

struct Plan {
    const double* stored; // (n, m), or null: then rows are made from the cost and the potentials
    Cost cost;
    const double *u, *v;
};

// Buckets of positive doubles by their bits, which are in the order of the numbers: 0 for what lies below `low`,
// buckets + 1 for what lies above the last one.
struct Window {
    std::uint64_t low;
    int shift;
    static constexpr std::int64_t buckets = 4096;
    std::uint64_t start(std::int64_t bucket) const { return low + (static_cast<std::uint64_t>(bucket - 1) << shift); }
};

struct Tally { // of one chunk of rows
    std::int64_t count[Window::buckets + 2];
    double mass[Window::buckets + 2];
};

struct Piece { // where the entries of one chunk of rows go
    std::int64_t quota; // entries with bits in [from, above) that are still taken
    std::int32_t* column;
    double* value;
};

// W by rows and by columns, and the full sums of the plan it was taken from.
struct Hessian {
    std::int64_t n, m;
    const std::int64_t* row_start;
    const std::int32_t* column;
    const double* by_row;
    const std::int64_t* column_start;
    const std::int32_t* row;
    const double* by_column;
    const double *row_sums, *column_sums;
};

struct Solved {
    std::int64_t iterations;
    double residual; // norm, relative to that of b
};

struct Table {
    // Both half steps in one pass over the costs, whatever their range. Returns |r - P 1| at (u, v).
    double (*log_step)(const Cost&, const double* u, const double* v, const double* r, const double* c, double* u_new,
                       double* v_new, int threads);
    // P (may be null), its sums over rows and columns; returns the sum of all.
    double (*plan)(const Cost&, const double* u, const double* v, double* p, double* row_sums, double* column_sums,
                   int threads);
    double (*inner)(const Cost&, const double* u, const double* v, int threads); // <C, P>
    // The step of log_step on a stored kernel K with factors a, b: P = diag(a) K diag(b).
    double (*scale)(const double* k, std::int64_t n, std::int64_t m, const double* a, const double* b, const double* r,
                    const double* c, double* a_new, double* b_new, int threads);
    void (*count)(const Plan&, Window, Tally* tallies, int threads);
    void (*collect)(const Plan&, std::uint64_t from, std::uint64_t above, const Piece* pieces, std::int64_t* row_counts,
                    int threads);
    // (diag(S) - W^T diag(1 / R) W) z = b by conjugate gradients from zero
    Solved (*schur_cg)(const Hessian&, const double* b, double* z, double rtol, std::int64_t maxiter, int threads);
};

extern const Table portable_table, avx2_table, avx512_table, neon_table;

// Chunks of rows: their number depends on the shape alone. Static: each source has a copy of its own.
struct Cut {
    std::int64_t n, rows, chunks;
    static Cut of(std::int64_t n, std::int64_t m) {
        const std::int64_t by_size = 32768 / (m > 0 ? m : 1) + 1, by_number = n / 64 + 1;
        const std::int64_t rows = by_size > by_number ? by_size : by_number;
        return {n, rows, (n + rows - 1) / rows};
    }
    std::int64_t first(std::int64_t chunk) const { return chunk * rows; }
    std::int64_t last(std::int64_t chunk) const { return n < (chunk + 1) * rows ? n : (chunk + 1) * rows; }
};

struct Selected { // compressed rows and compressed columns of the same entries
    std::vector<std::int64_t> row_start, column_start;
    std::vector<std::int32_t> column, row;
    std::vector<double> by_row, by_column;
};

// The largest entries of a plan, none of which exceeds `top`: the one of rank k (0 is the largest) stays if k < least, or
// if k < most and it and those after it hold more than `budget` together.
Selected select(const Table&, const Plan&, double top, std::int64_t least, std::int64_t most, double budget, int threads);
Selected above(const Table&, const Plan&, double threshold, int threads); // entries >= threshold > 0

} // namespace gossamer::transport
