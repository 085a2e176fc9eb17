// The one template of the family; each <isa>.cpp includes it and exports its table.
#include "../dispatch/parallel.hpp"
#include "../dispatch/sparse_row.hpp"
#include "csr.hpp"

namespace gossamer::csr {
inline namespace GOSSAMER_ISA {

template <class Value, class Index>
void matmat(const Matrix<Value, Index>& a, const Value* x, std::int64_t n, Value* y, int threads) {
    constexpr std::int64_t rows_per_chunk = 64;
    const std::int64_t work = 2 * static_cast<std::int64_t>(a.indptr[a.rows]) * n;
    parallel_chunks(ceil_div(a.rows, rows_per_chunk), worthwhile_threads(work, threads), [&](std::int64_t chunk) {
        const std::int64_t last = least(a.rows, (chunk + 1) * rows_per_chunk);
        for (std::int64_t row = chunk * rows_per_chunk; row < last; ++row) {
            const Value* values = a.data + a.indptr[row];
            const std::int64_t count = a.indptr[row + 1] - a.indptr[row];
            const auto column = [from = a.indices + a.indptr[row]](std::int64_t i) { return from[i]; };
            if (n == 1)
                y[row] = sparse_dot(values, count, column, x);
            else
                sparse_row_times_matrix(values, count, column, x, n, y + row * n);
        }
    });
}

inline constexpr Table kernels{matmat<float, std::int32_t>, matmat<float, std::int64_t>,
                               matmat<double, std::int32_t>, matmat<double, std::int64_t>};

} // namespace GOSSAMER_ISA
} // namespace gossamer::csr
