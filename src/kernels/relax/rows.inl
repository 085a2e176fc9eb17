// Rows of a sparse matrix and points of a checkerboard, and visits to them: in the order of the relaxation, backwards, or
// all at once.
#include "../dispatch/parallel.hpp"
#include "../dispatch/scratch.hpp"
#include "relax.hpp"

namespace gossamer::relax {
inline namespace GOSSAMER_ISA {

inline constexpr std::int64_t rows_per_chunk = 1024;

struct Sums {
    double first = 0, second = 0;
};

// A row takes off a running value what its neighbours add to it. The nearest one comes last: it is the one just
// computed, and what else there is to add then does not wait for it.
template <class Index>
struct CsrRow {
    std::int64_t i;
    Index begin, middle, end;
    const Index* indices;
    const double* data;

    GOSSAMER_INLINE double diagonal() const { return data[middle]; }
    GOSSAMER_INLINE double less_lower(double value, const double* x) const {
        for (Index k = begin; k < middle; ++k) value -= data[k] * x[indices[k]];
        return value;
    }
    GOSSAMER_INLINE double less_upper(double value, const double* x) const {
        for (Index k = end - 1; k > middle; --k) value -= data[k] * x[indices[k]];
        return value;
    }
};

template <class Index>
std::int64_t size(const Csr<Index>& a) { return a.n; }
inline std::int64_t size(const Grid& a) { return a.nx * a.ny * a.nz; }

template <class Index>
std::int64_t levels(const Csr<Index>& a) { return a.levels ? a.level_count : 1; }
inline std::int64_t levels(const Grid&) { return 2; }

template <class Index, class Body>
GOSSAMER_INLINE void csr_rows(const Csr<Index>& a, std::int64_t from, std::int64_t to, bool backward, const Body& body) {
    for (std::int64_t k = from; k < to; ++k) {
        const std::int64_t i = backward ? from + to - 1 - k : k;
        body(CsrRow<Index>{i, a.indptr[i], a.middle[i], a.indptr[i + 1], a.indices, a.data});
    }
}

template <class Index>
std::int64_t chunks(const Csr<Index>& a, std::int64_t level) {
    return a.levels ? ceil_div(a.levels[level + 1] - a.levels[level], rows_per_chunk) : 1;
}
template <class Index, class Body>
void chunk_rows(const Csr<Index>& a, std::int64_t level, std::int64_t chunk, bool backward, const Body& body) {
    const std::int64_t from = a.levels ? a.levels[level] : 0, to = a.levels ? a.levels[level + 1] : a.n;
    const std::int64_t first = a.levels ? from + chunk * rows_per_chunk : 0;
    csr_rows(a, first, a.levels ? least(first + rows_per_chunk, to) : to, backward, body);
}

// A point of a checkerboard. An even one comes before all of its neighbours, an odd one after them.
struct GridRow {
    std::int64_t i, stride_y, stride_z;
    const Grid& a;
    bool left, right, below, above, back, front; // which neighbours there are
    bool odd;

    GOSSAMER_INLINE double diagonal() const { return a.diagonal; }
    GOSSAMER_INLINE double around(double value, const double* x) const {
        if (back) value += a.coupling[2] * x[i - stride_z];
        if (front) value += a.coupling[2] * x[i + stride_z];
        if (below) value += a.coupling[1] * x[i - stride_y];
        if (above) value += a.coupling[1] * x[i + stride_y];
        if (left) value += a.coupling[0] * x[i - 1];
        if (right) value += a.coupling[0] * x[i + 1];
        return value;
    }
    GOSSAMER_INLINE double less_lower(double value, const double* x) const { return odd ? around(value, x) : value; }
    GOSSAMER_INLINE double less_upper(double value, const double* x) const { return odd ? value : around(value, x); }
};

inline std::int64_t chunks(const Grid& a, std::int64_t) { return a.ny * a.nz; }
template <class Body>
void chunk_rows(const Grid& a, std::int64_t level, std::int64_t line, bool, const Body& body) {
    const std::int64_t j = line % a.ny, k = line / a.ny;
    for (std::int64_t i = (j + k + level) & 1; i < a.nx; i += 2)
        body(GridRow{line * a.nx + i, a.nx, a.nx * a.ny, a, i > 0, i + 1 < a.nx, j > 0, j + 1 < a.ny, k > 0,
                     k + 1 < a.nz, level == 1});
}

// The sums of body(row, sums) over all rows. Chunks are summed each for itself, then in their order.
template <class Matrix, class Body>
Sums in_order(const Matrix& a, bool backward, int threads, const Body& body) {
    Sums total;
    const std::int64_t count = levels(a);
    for (std::int64_t l = 0; l < count; ++l) {
        const std::int64_t level = backward ? count - 1 - l : l, parts = chunks(a, level);
        if (parts == 1) {
            chunk_rows(a, level, 0, backward, [&](const auto& row) { body(row, total); });
            continue;
        }
        const Scratch memory(parts * static_cast<std::int64_t>(sizeof(Sums)), 1);
        Sums* sums = reinterpret_cast<Sums*>(memory.part(0));
        parallel_chunks(parts, worthwhile_threads(16 * size(a) / count, threads), [&](std::int64_t chunk) {
            Sums own;
            chunk_rows(a, level, chunk, backward, [&](const auto& row) { body(row, own); });
            sums[chunk] = own;
        });
        for (std::int64_t chunk = 0; chunk < parts; ++chunk) {
            total.first += sums[chunk].first;
            total.second += sums[chunk].second;
        }
    }
    return total;
}

// The sums of body(from, to, sums) over stretches of [0, n) that any thread may take.
template <class Body>
Sums in_stretches(std::int64_t n, int threads, const Body& body) {
    constexpr std::int64_t length = 4096;
    const std::int64_t parts = ceil_div(n, length);
    const Scratch memory(most<std::int64_t>(parts, 1) * static_cast<std::int64_t>(sizeof(Sums)), 1);
    Sums* sums = reinterpret_cast<Sums*>(memory.part(0));
    parallel_chunks(parts, worthwhile_threads(8 * n, threads), [&](std::int64_t part) {
        Sums own;
        body(part * length, least(n, (part + 1) * length), own);
        sums[part] = own;
    });
    Sums total;
    for (std::int64_t part = 0; part < parts; ++part) {
        total.first += sums[part].first;
        total.second += sums[part].second;
    }
    return total;
}

// body(row, sums) for rows that do not wait for each other, whatever the order of the relaxation is
template <class Index, class Body>
Sums all_rows(const Csr<Index>& a, int threads, const Body& body) {
    return in_stretches(a.n, threads, [&](std::int64_t from, std::int64_t to, Sums& sums) {
        csr_rows(a, from, to, false, [&](const auto& row) { body(row, sums); });
    });
}
template <class Body>
Sums all_rows(const Grid& a, int threads, const Body& body) {
    return in_order(a, false, threads, body);
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::relax
