// What is done once, before a matrix is relaxed: each in one reading of it.
#include "../dispatch/scratch.hpp"
#include "../dispatch/simd.hpp"
#include "relax.hpp"

namespace gossamer::relax {
inline namespace GOSSAMER_ISA {

template <class Index>
std::int64_t prepare(const Csr<Index>& a, Index* middle, int* wrong) {
    for (std::int64_t i = 0; i < a.n; ++i) {
        Index at = -1, last = -1;
        double sum = 0; // NaN or infinite entries, and only they, make 0 times them not 0
        bool good = true;
        for (Index k = a.indptr[i]; k < a.indptr[i + 1]; ++k) {
            const Index j = a.indices[k];
            good &= j > last;
            last = j;
            if (j == i) at = k;
            sum += 0 * a.data[k];
        }
        *wrong = !good || last >= a.n ? 1 : at < 0 ? 2 : sum != 0 ? 3 : 0;
        if (*wrong) return i;
        middle[i] = at;
    }
    return -1;
}

template <class Index>
double asymmetry(const Csr<Index>& a) {
    const Scratch memory(a.n * static_cast<std::int64_t>(sizeof(double)), 2);
    double *v = reinterpret_cast<double*>(memory.part(0)), *down = reinterpret_cast<double*>(memory.part(1));
    std::uint64_t state = 0x9e3779b97f4a7c15u;
    for (std::int64_t i = 0; i < a.n; ++i) { // a congruential sequence, in [1, 2)
        state = state * 6364136223846793005u + 1442695040888963407u;
        v[i] = 1 + static_cast<double>(state >> 11) * 0x1p-53;
        down[i] = 0;
    }
    double most_wrong = 0, size = 0;
    for (std::int64_t i = 0; i < a.n; ++i) {
        double along = 0, magnitude = 0;
        for (Index k = a.indptr[i]; k < a.indptr[i + 1]; ++k) {
            const double value = a.data[k];
            along += value * v[a.indices[k]];
            magnitude += value < 0 ? -value : value;
            down[a.indices[k]] -= value * v[i];
        }
        down[i] += along;
        size = most(size, magnitude);
    }
    for (std::int64_t i = 0; i < a.n; ++i) most_wrong = most(most_wrong, down[i] < 0 ? -down[i] : down[i]);
    return size > 0 ? most_wrong / size : 0;
}

// Every row gets the smallest colour that none of its coloured neighbours has.
template <class Index>
void colour(const Csr<Index>& a, Index* colours) {
    const Scratch memory((a.n + 1) * static_cast<std::int64_t>(sizeof(std::int64_t)), 1);
    std::int64_t* met = reinterpret_cast<std::int64_t*>(memory.part(0)); // the last row that met a colour
    for (std::int64_t i = 0; i < a.n; ++i) {
        colours[i] = -1;
        met[i] = -1;
    }
    for (std::int64_t i = 0; i < a.n; ++i) {
        for (Index k = a.indptr[i]; k < a.indptr[i + 1]; ++k) {
            const Index other = a.indices[k] == i ? Index{-1} : colours[a.indices[k]];
            if (other >= 0) met[other] = i;
        }
        Index mine = 0;
        while (met[mine] == i) ++mine;
        colours[i] = mine;
    }
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::relax
