// A block of rows in lanes: vector i holds coefficient i of `width` rows.
#include "../dispatch/parallel.hpp"
#include "../dispatch/scratch.hpp"
#include "gaunt.hpp"

#include <utility>

namespace gossamer::gaunt {
inline namespace GOSSAMER_ISA {

template <class Real>
using Vector = typename simd<Real>::type;

inline constexpr std::int64_t blocks_in_chunk = 4;

template <class V, int Bit, int... Lane>
GOSSAMER_INLINE void exchange_lanes(V& a, V& b, std::integer_sequence<int, Lane...>) {
    constexpr int width = sizeof...(Lane);
    const V low = __builtin_shufflevector(a, b, (Lane & Bit ? width + Lane - Bit : Lane)...);
    b = __builtin_shufflevector(a, b, (Lane & Bit ? width + Lane : Lane + Bit)...);
    a = low;
}

// Square of width x width: rows become columns.
template <class Real, int Bit = 1>
GOSSAMER_INLINE void transpose(Vector<Real>* v) {
    constexpr int width = simd<Real>::width;
    if constexpr (Bit < width) {
#pragma GCC unroll 16
        for (int i = 0; i < width; ++i)
            if (!(i & Bit))
                exchange_lanes<Vector<Real>, Bit>(v[i], v[i + Bit], std::make_integer_sequence<int, width>{});
        transpose<Real, 2 * Bit>(v);
    }
}

// lanes[i] = coefficient i of rows [first, first + count); absent rows are zero.
template <class Real>
void gather(const Rows<Real>& rows, std::int64_t first, std::int64_t count, Vector<Real>* lanes) {
    constexpr int width = simd<Real>::width;
    const Real* row[width];
    const Real* furthest = rows.data;
    for (int k = 0; k < width; ++k) {
        row[k] = rows.at(first + (k < count ? k : 0));
        if (row[k] > furthest) furthest = row[k];
    }
    const auto square = [&](std::int64_t i, std::int64_t columns) __attribute__((always_inline)) {
        Vector<Real> part[width];
#pragma GCC unroll 16
        for (int k = 0; k < width; ++k) part[k] = simd<Real>::load(row[k] + i);
        transpose<Real>(part);
        for (std::int64_t k = 0; k < columns; ++k) lanes[i + k] = part[k];
    };
    std::int64_t i = 0;
    if (count == width) {
        for (; i + width <= rows.width; i += width) square(i, width);
        // what is read beyond a row belongs to the next one, and is dropped
        if (i < rows.width && furthest + i + width <= rows.data + rows.count * rows.width) {
            square(i, rows.width - i);
            return;
        }
    }
    for (; i < rows.width; ++i) {
        Real column[width] = {};
        for (int k = 0; k < count; ++k) column[k] = row[k][i];
        lanes[i] = simd<Real>::load(column);
    }
}

template <class Real>
void scatter(const Vector<Real>* lanes, std::int64_t size, std::int64_t count, Real* out) {
    constexpr int width = simd<Real>::width;
    const std::int64_t whole = count == width ? size - size % width : 0;
    if (count == width && whole < size) { // what is written beyond a row is overwritten by the next one's own
        Vector<Real> part[width];
#pragma GCC unroll 16
        for (int k = 0; k < width; ++k) part[k] = whole + k < size ? lanes[whole + k] : Vector<Real>{};
        transpose<Real>(part);
        for (int k = 0; k < width; ++k) {
            Real* to = out + k * size + whole;
            if (to + width <= out + width * size) {
                simd<Real>::store(to, part[k]);
                continue;
            }
            Real last[width];
            simd<Real>::store(last, part[k]);
            for (std::int64_t i = 0; i < size - whole; ++i) to[i] = last[i];
        }
    }
    for (std::int64_t i = 0; i < whole; i += width) {
        Vector<Real> square[width];
#pragma GCC unroll 16
        for (int k = 0; k < width; ++k) square[k] = lanes[i + k];
        transpose<Real>(square);
#pragma GCC unroll 16
        for (int k = 0; k < width; ++k) simd<Real>::store(out + k * size + i, square[k]);
    }
    if (count == width) return;
    for (std::int64_t i = 0; i < size; ++i) {
        Real column[width];
        simd<Real>::store(column, lanes[i]);
        for (int k = 0; k < count; ++k) out[k * size + i] = column[k];
    }
}

// Calls body(first row, rows, memory of `vectors` vectors) for blocks of lanes; every row keeps to its own lane, so that
// neither threads nor neighbours change a bit of it.
template <class Real, class Body>
void over_blocks(std::int64_t rows, std::int64_t vectors, std::int64_t work, int threads, const Body& body) {
    constexpr std::int64_t width = simd<Real>::width, step = blocks_in_chunk * width;
    threads = worthwhile_threads(rows * work / width, threads);
    Scratch memory(vectors * static_cast<std::int64_t>(sizeof(Vector<Real>)), threads);
    parallel_chunks_by_thread(ceil_div(rows, step), threads, [&](std::int64_t chunk, int thread) {
        auto* own = reinterpret_cast<Vector<Real>*>(memory.part(thread));
        const std::int64_t end = least(rows, (chunk + 1) * step);
        for (std::int64_t first = chunk * step; first < end; first += width)
            body(first, least(width, end - first), own);
    });
}

template <class Real>
GOSSAMER_INLINE void multiply(const Linear<Real>& map, std::int64_t from, std::int64_t to, const Vector<Real>* x,
                              Vector<Real>* y) {
    for (std::int64_t row = from; row < to; ++row) {
        Vector<Real> sum{};
        for (std::int64_t p = map.pointers[row]; p < map.pointers[row + 1]; ++p) sum += map.values[p] * x[map.columns[p]];
        y[row] = sum;
    }
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::gaunt
