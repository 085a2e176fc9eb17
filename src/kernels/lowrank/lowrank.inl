// The one template of the family; each <isa>.cpp includes it and exports its table.
#include "../dispatch/dense.hpp"
#include "../dispatch/parallel.hpp"
#include "../dispatch/scratch.hpp"
#include "lowrank.hpp"

namespace gossamer::lowrank {
inline namespace GOSSAMER_ISA {

template <class Real>
void rows_times(const Real* a, std::int64_t rows, std::int64_t depth, const Real* x, std::int64_t n, Real* y,
                bool accumulate, std::int64_t rows_per_chunk, int threads) {
    threads = worthwhile_threads(2 * rows * depth * n, threads);
    parallel_chunks(ceil_div(rows, rows_per_chunk), threads, [&](std::int64_t part) {
        const std::int64_t row = part * rows_per_chunk, count = least(rows_per_chunk, rows - row);
        panel_times_matrix(a + row * depth, depth, count, depth, x, n, y + row * n, accumulate);
    });
}

template <class Real>
void add(const Matrix<Real>& a, const Real* x, std::int64_t n, Real* y, int threads) {
    const Scratch memory(a.rank * n * static_cast<std::int64_t>(sizeof(Real)), 1);
    auto* inner = reinterpret_cast<Real*>(memory.part(0));
    rows_times(a.right, a.rank, a.cols, x, n, inner, false, tile_rows, threads);
    rows_times(a.left, a.rows, a.rank, inner, n, y, true, 16 * tile_rows, threads);
}

inline constexpr Table kernels{add<float>, add<double>};

} // namespace GOSSAMER_ISA
} // namespace gossamer::lowrank
