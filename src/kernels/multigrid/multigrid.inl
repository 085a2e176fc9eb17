// The one template of the family; each <isa>.cpp includes it and exports its table.
#include "../dispatch/sparse_row.hpp"
#include "multigrid.hpp"

namespace gossamer::multigrid {
inline namespace GOSSAMER_ISA {

template <class Index>
GOSSAMER_INLINE double along(const Csr<Index>& a, Index from, Index to, const double* x) {
    const Index* at = a.indices + from;
    return sparse_dot(a.data + from, to - from, [at](std::int64_t k) { return at[k]; }, x);
}

// After (D + L) x + U old = b the residual is U (old - x): r holds the change of x first, and rows above read it then.
template <class Index>
void descend(const Csr<Index>& a, const double* b, bool zero, double* x, double* r) {
    if (zero)
        for (std::int64_t i = 0; i < a.n; ++i) {
            const Index middle = a.middle[i];
            x[i] = r[i] = (b[i] - along(a, a.indptr[i], middle, x)) / a.data[middle];
        }
    else
        for (std::int64_t i = 0; i < a.n; ++i) {
            const double change = (b[i] - along(a, a.indptr[i], a.indptr[i + 1], x)) / a.data[a.middle[i]];
            x[i] += change;
            r[i] = change;
        }
    for (std::int64_t i = 0; i < a.n; ++i) r[i] = -along(a, static_cast<Index>(a.middle[i] + 1), a.indptr[i + 1], r);
}

template <class Index>
void ascend(const Csr<Index>& a, const double* b, double* x) {
    for (std::int64_t i = a.n - 1; i >= 0; --i)
        x[i] += (b[i] - along(a, a.indptr[i], a.indptr[i + 1], x)) / a.data[a.middle[i]];
}

inline constexpr Table kernels{{descend<std::int32_t>, ascend<std::int32_t>},
                               {descend<std::int64_t>, ascend<std::int64_t>}};

} // namespace GOSSAMER_ISA
} // namespace gossamer::multigrid
