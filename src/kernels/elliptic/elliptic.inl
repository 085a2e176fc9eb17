// The one template of the family; each <isa>.cpp includes it and exports its table.
#include "../dispatch/parallel.hpp"
#include "../dispatch/scratch.hpp"
#include "elliptic.hpp"

namespace gossamer::elliptic {
inline namespace GOSSAMER_ISA {

inline constexpr double smallest_pivot = 1e-12; // of a diagonal entry that is left, relative to what it was

template <class Index>
std::int64_t factor(const Lower<Index>& a, double modified, double shift) {
    const Scratch memory(a.n * static_cast<std::int64_t>(sizeof(double)), 1);
    double* least_pivot = reinterpret_cast<double*>(memory.part(0));
    for (std::int64_t k = 0; k < a.n; ++k) {
        double& diagonal = a.data[a.indptr[k]];
        least_pivot[k] = smallest_pivot * diagonal;
        diagonal *= 1 + shift;
    }
    for (std::int64_t k = 0; k < a.n; ++k) {
        const Index begin = a.indptr[k], end = a.indptr[k + 1];
        const double pivot = a.data[begin];
        if (!(pivot > least_pivot[k])) return k;
        const double inverse = 1 / __builtin_sqrt(pivot);
        a.data[begin] = inverse;
        for (Index p = begin + 1; p < end; ++p) a.data[p] *= inverse;
        for (Index p = begin + 1; p < end; ++p) {
            const Index j = a.indices[p];
            Index at = a.indptr[j];
            const Index last = a.indptr[j + 1];
            double& diagonal = a.data[at];
            diagonal -= a.data[p] * a.data[p];
            for (Index q = p + 1; q < end; ++q) {
                const Index i = a.indices[q];
                const double update = a.data[p] * a.data[q];
                while (at < last && a.indices[at] < i) ++at;
                if (at < last && a.indices[at] == i) {
                    a.data[at] -= update;
                } else {
                    diagonal -= modified * update;
                    a.data[a.indptr[i]] -= modified * update;
                }
            }
        }
    }
    return -1;
}

template <class Index>
void solve(const Lower<Index>& l, const double* r, double* z) {
    for (std::int64_t k = 0; k < l.n; ++k) z[k] = r[k];
    for (std::int64_t k = 0; k < l.n; ++k) {
        const Index begin = l.indptr[k], end = l.indptr[k + 1];
        const double value = z[k] * l.data[begin];
        z[k] = value;
        for (Index p = begin + 1; p < end; ++p) z[l.indices[p]] -= l.data[p] * value;
    }
    for (std::int64_t k = l.n; k-- > 0;) {
        const Index begin = l.indptr[k], end = l.indptr[k + 1];
        double value = z[k];
        for (Index p = begin + 1; p < end; ++p) value -= l.data[p] * z[l.indices[p]];
        z[k] = value * l.data[begin];
    }
}

// Cells [from, to), all of whose neighbours lie within the array.
template <int Axes>
void inner_cells(const Star& s, const double* x, double* y, std::int64_t from, std::int64_t to) {
    const std::int64_t last = s.stride[Axes - 1], middle = s.stride[Axes > 1 ? Axes - 2 : 0], first = s.stride[0];
    const double* w = s.weight;
    for (std::int64_t i = from; i < to; ++i) {
        double value = s.diagonal[i] * x[i];
        if constexpr (Axes > 2) value -= w[i] * x[i + first] + w[i - first] * x[i - first];
        if constexpr (Axes > 1) {
            const double* v = w + (Axes - 2) * s.n;
            value -= v[i] * x[i + middle] + v[i - middle] * x[i - middle];
        }
        const double* v = w + (Axes - 1) * s.n;
        y[i] = value - (v[i] * x[i + last] + v[i - last] * x[i - last]);
    }
}

inline void outer_cells(const Star& s, const double* x, double* y, std::int64_t from, std::int64_t to) {
    for (std::int64_t i = from; i < to; ++i) {
        double value = s.diagonal[i] * x[i];
        for (std::int64_t axis = 0; axis < s.axes; ++axis) {
            const double* w = s.weight + axis * s.n;
            const std::int64_t step = s.stride[axis];
            if (i + step < s.n) value -= w[i] * x[i + step];
            if (i >= step) value -= w[i - step] * x[i - step];
        }
        y[i] = value;
    }
}

inline void star(const Star& s, const double* x, std::int64_t count, double* y, int threads) {
    constexpr std::int64_t piece = 1 << 15;
    const std::int64_t reach = s.stride[0], pieces = ceil_div(s.n, piece);
    const auto body = [&](std::int64_t chunk) {
        const double* in = x + chunk / pieces * s.n;
        double* out = y + chunk / pieces * s.n;
        const std::int64_t from = chunk % pieces * piece, to = least(from + piece, s.n);
        const std::int64_t a = least(most(from, reach), to), b = most(least(to, s.n - reach), a);
        outer_cells(s, in, out, from, a);
        if (s.axes == 3) inner_cells<3>(s, in, out, a, b);
        else if (s.axes == 2) inner_cells<2>(s, in, out, a, b);
        else inner_cells<1>(s, in, out, a, b);
        outer_cells(s, in, out, b, to);
    };
    parallel_chunks(pieces * count, worthwhile_threads(10 * s.n * count, threads), body);
}

template <class Index>
inline constexpr Entries<Index> entries{factor<Index>, solve<Index>};

inline constexpr Table kernels{entries<std::int32_t>, entries<std::int64_t>, star};

} // namespace GOSSAMER_ISA
} // namespace gossamer::elliptic
