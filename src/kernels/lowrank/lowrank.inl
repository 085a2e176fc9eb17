// The one template of the family; each <isa>.cpp includes it and exports its table.
#include "term.inl"

namespace gossamer::lowrank {
inline namespace GOSSAMER_ISA {

template <class Real>
void add(const Term& term, const Real* x, std::int64_t n, Real* y, int threads) {
    const std::int64_t rows = term.left.rows, rank = term.left.cols;
    const int useful = worthwhile_threads(2 * rank * most(rows, term.right.cols) * n, threads);
    const Added<Real> added(&term, x, n, useful);
    constexpr std::int64_t rows_per_chunk = 96;
    parallel_chunks_by_thread(ceil_div(rows, rows_per_chunk), useful, [&](std::int64_t part, int thread) {
        const std::int64_t first = part * rows_per_chunk;
        added.rows(first, least(rows, first + rows_per_chunk), y + first * n, thread);
    });
}

inline constexpr Table kernels{add<float>, add<double>};

} // namespace GOSSAMER_ISA
} // namespace gossamer::lowrank
