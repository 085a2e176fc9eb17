// The one template of the family; each <isa>.cpp includes it and exports its table.
#include "../dispatch/neon.hpp"
#include "../dispatch/parallel.hpp"
#include "../dispatch/scratch.hpp"
#include "../dispatch/sparse_row.hpp"
#include "nm.hpp"

#include <type_traits>

namespace gossamer::nm {
inline namespace GOSSAMER_ISA {

inline int position(const std::uint8_t* packed, std::int64_t at, int bits) {
    const std::int64_t bit = at * bits;
    return (packed[bit / 8] >> (bit % 8)) & ((1 << bits) - 1);
}

template <class Real>
void unpack_columns(const Matrix<Real>& a, const std::uint8_t* packed, std::uint32_t* column) {
    std::int64_t at = 0;
    for (std::int64_t first = 0; first < a.cols; first += a.m)
        for (int j = 0; j < a.n; ++j, ++at)
            column[at] = static_cast<std::uint32_t>(first + position(packed, at, a.position_bits));
}

#if defined(__AVX2__)

// 2:4 and one column: a vector of values meets two vectors of x, from which one shuffle picks.
template <class Real>
Real two_of_four_dot(const Real* values, const std::uint8_t* packed, std::int64_t count, const Real* x) {
    using V = simd<Real>;
    using Index = std::conditional_t<sizeof(Real) == 4, std::int32_t, std::int64_t>;
    using I = simd<Index>;
    constexpr int width = V::width;
    typename I::type shift, base;
    for (int lane = 0; lane < width; ++lane) {
        shift[lane] = 2 * lane;
        base[lane] = lane / 2 * 4;
    }
    const auto pick = [&](std::int64_t i) __attribute__((always_inline)) {
        std::uint32_t bits = 0;
        std::memcpy(&bits, packed + i / 4, width / 4);
        const auto index = ((I::splat(static_cast<Index>(bits)) >> shift) & 3) + base;
        return __builtin_shuffle(V::load(x + 2 * i), V::load(x + 2 * i + width), index);
    };
    typename V::type sums[2] = {};
    std::int64_t i = 0;
    for (; i + 2 * width <= count; i += 2 * width) {
        sums[0] += V::load(values + i) * pick(i);
        sums[1] += V::load(values + i + width) * pick(i + width);
    }
    for (; i + width <= count; i += width) sums[0] += V::load(values + i) * pick(i);
    Real tail = 0;
    for (; i < count; ++i) tail += values[i] * x[i / 2 * 4 + position(packed, i, 2)];
    return V::sum(sums[0] + sums[1]) + tail;
}

#elif GOSSAMER_NEON

// Where a vector of picked entries takes its bytes from among two vectors of x, for each of its positions.
template <class Real>
struct Picks {
    static constexpr int width = simd<Real>::width, masks = 1 << (2 * width);
    alignas(16) std::uint8_t from[masks][16];
    constexpr Picks() : from() {
        for (int mask = 0; mask < masks; ++mask)
            for (int byte = 0; byte < 16; ++byte) {
                const int entry = byte / static_cast<int>(sizeof(Real)), position = mask >> (2 * entry) & 3;
                from[mask][byte] = static_cast<std::uint8_t>((entry / 2 * 4 + position) * sizeof(Real) + byte % sizeof(Real));
            }
    }
};
template <class Real>
inline constexpr Picks<Real> picks;

// 2:4 and one column: a vector of values meets two vectors of x, from which one lookup picks.
template <class Real>
Real two_of_four_dot(const Real* values, const std::uint8_t* packed, std::int64_t count, const Real* x) {
    using V = simd<Real>;
    typename V::type sums[4] = {};
    constexpr int vectors = 4 / V::width; // a byte of positions
    std::int64_t i = 0;
    const auto add = [&](std::int64_t at, int chain) __attribute__((always_inline)) {
        for (int v = 0; v < vectors; ++v) {
            const int mask = packed[at / 4] >> (2 * V::width * v) & (picks<Real>.masks - 1);
            const std::int64_t first = at + v * V::width;
            uint8x16x2_t two;
            two.val[0] = (uint8x16_t)V::load(x + 2 * first);
            two.val[1] = (uint8x16_t)V::load(x + 2 * first + V::width);
            sums[chain + v] += V::load(values + first) * (typename V::type)vqtbl2q_u8(two, vld1q_u8(picks<Real>.from[mask]));
        }
    };
    for (; i + 8 <= count; i += 8) add(i, 0), add(i + 4, 2);
    for (; i + 4 <= count; i += 4) add(i, 0);
    Real tail = 0;
    for (; i < count; ++i) tail += values[i] * x[i / 2 * 4 + position(packed, i, 2)];
    return V::sum((sums[0] + sums[1]) + (sums[2] + sums[3])) + tail;
}

#endif

template <class Real>
void matmat(const Matrix<Real>& a, const Real* x, std::int64_t columns, Real* y, int threads) {
    constexpr std::int64_t rows_per_chunk = 32;
    const std::int64_t kept = a.cols / a.m * a.n, stride = ceil_div(kept * a.position_bits, 8);
    threads = worthwhile_threads(2 * a.rows * kept * columns, threads);
    const Scratch memory(kept * 4, threads);
    parallel_chunks_by_thread(ceil_div(a.rows, rows_per_chunk), threads, [&](std::int64_t part, int thread) {
        auto* index = reinterpret_cast<std::uint32_t*>(memory.part(thread));
        for (std::int64_t row = part * rows_per_chunk; row < least(a.rows, (part + 1) * rows_per_chunk); ++row) {
            const Real* values = a.values + row * kept;
            const std::uint8_t* packed = a.positions + row * stride;
#if defined(__AVX2__) || GOSSAMER_NEON
            if (columns == 1 && a.n == 2 && a.m == 4) {
                y[row] = two_of_four_dot(values, packed, kept, x);
                continue;
            }
#endif
            unpack_columns(a, packed, index);
            const auto column = [index](std::int64_t i) { return index[i]; };
            if (columns == 1)
                y[row] = sparse_dot(values, kept, column, x);
            else
                sparse_row_times_matrix(values, kept, column, x, columns, y + row * columns);
        }
    });
}

inline constexpr Table kernels{matmat<float>, matmat<double>};

} // namespace GOSSAMER_ISA
} // namespace gossamer::nm
