// The one template of the family; each <isa>.cpp includes it and exports its table.
#include "../dispatch/parallel.hpp"
#include "../dispatch/scratch.hpp"
#include "multiview.hpp"

#include <cmath>

namespace gossamer::multiview {
inline namespace GOSSAMER_ISA {

inline constexpr std::int64_t block = 256; // features of a tile
inline constexpr std::int64_t panel = 32;  // rows of a tile
inline constexpr int group = 4;            // rows or components that registers hold at a time

// Features of a chunk: at most 64 chunks, so that partial scores stay small whatever p is.
inline std::int64_t chunk_of(std::int64_t p) { return most<std::int64_t>(2048, round_up(ceil_div(p, 64), block)); }

template <class Stored, class Real>
void widen(const Stored* x, const Real* offset, std::int64_t count, Real* out) {
    if constexpr (sizeof(Stored) == 2) {
        to_floats(x, count, out);
        for (std::int64_t j = 0; j < count; ++j) out[j] -= offset[j];
    } else {
        for (std::int64_t j = 0; j < count; ++j) out[j] = static_cast<Real>(x[j]) - offset[j];
    }
}

template <class Real>
void zero(Real* out, std::int64_t count) {
    for (std::int64_t j = 0; j < count; ++j) out[j] = 0;
}

// Rows [row, row + rows) and features [from, from + width) into tile (., block), zero beyond width and, up to a whole
// group, beyond rows.
template <class Stored, class Real>
void load_tile(const Batch<Stored, Real>& b, std::int64_t row, std::int64_t rows, std::int64_t from, std::int64_t width,
               Real* tile) {
    for (std::int64_t r = 0; r < rows; ++r) {
        widen(b.x + (row + r) * b.p + from, b.offset + from, width, tile + r * block);
        zero(tile + r * block + width, block - width);
    }
    zero(tile + rows * block, (round_up(rows, group) - rows) * block);
}

// sums[r, k] += tile[r] * u[k], vectors that are added up later
template <int Count, class Real>
GOSSAMER_INLINE void row_products(const Real* tile, const Real* u, std::int64_t width, Real* sums, std::int64_t stride) {
    using V = simd<Real>;
    typename V::type acc[group][Count];
    for (int r = 0; r < group; ++r)
        for (int k = 0; k < Count; ++k) acc[r][k] = V::load(sums + r * stride + k * V::width);
    for (std::int64_t j = 0; j < width; j += V::width) {
        typename V::type here[Count];
        for (int k = 0; k < Count; ++k) here[k] = V::load(u + k * block + j);
        for (int r = 0; r < group; ++r) {
            const auto x = V::load(tile + r * block + j);
            for (int k = 0; k < Count; ++k) acc[r][k] += x * here[k];
        }
    }
    for (int r = 0; r < group; ++r)
        for (int k = 0; k < Count; ++k) V::store(sums + r * stride + k * V::width, acc[r][k]);
}

template <class Stored, class Real>
void scores(const Batch<Stored, Real>& b, const Real* u, std::int64_t K, double* z, int threads) {
    using V = simd<Real>;
    const std::int64_t chunk = chunk_of(b.p), chunks = ceil_div(b.p, chunk), stride = K * V::width;
    threads = worthwhile_threads(2 * b.m * b.p * K, threads);
    const Scratch partial(8 * b.m * K * most<std::int64_t>(chunks, 1), 1);
    const Scratch memory(static_cast<std::int64_t>(sizeof(Real)) * (panel * block + K * block + panel * stride), threads);
    auto* parts = reinterpret_cast<double*>(partial.part(0));
    parallel_chunks_by_thread(chunks, threads, [&](std::int64_t c, int thread) {
        auto* tile = reinterpret_cast<Real*>(memory.part(thread));
        Real *weights = tile + panel * block, *sums = weights + K * block;
        double* out = parts + c * b.m * K;
        const std::int64_t begin = c * chunk, end = least(begin + chunk, b.p);
        for (std::int64_t row = 0; row < b.m; row += panel) {
            const std::int64_t rows = least(panel, b.m - row);
            zero(sums, panel * stride);
            for (std::int64_t from = begin; from < end; from += block) {
                const std::int64_t width = least(block, end - from), whole = round_up(width, V::width);
                load_tile(b, row, rows, from, width, tile);
                for (std::int64_t k = 0; k < K; ++k) {
                    std::memcpy(weights + k * block, u + k * b.p + from, static_cast<std::size_t>(width) * sizeof(Real));
                    zero(weights + k * block + width, block - width);
                }
                for (std::int64_t r = 0; r < rows; r += group)
                    for (std::int64_t k = 0; k < K; k += group) {
                        const Real *x = tile + r * block, *w = weights + k * block;
                        Real* s = sums + r * stride + k * V::width;
                        switch (least<std::int64_t>(group, K - k)) {
                            case 1: row_products<1>(x, w, whole, s, stride); break;
                            case 2: row_products<2>(x, w, whole, s, stride); break;
                            case 3: row_products<3>(x, w, whole, s, stride); break;
                            default: row_products<4>(x, w, whole, s, stride);
                        }
                    }
            }
            for (std::int64_t r = 0; r < rows; ++r)
                for (std::int64_t k = 0; k < K; ++k)
                    out[(row + r) * K + k] = V::sum(V::load(sums + r * stride + k * V::width));
        }
    });
    for (std::int64_t i = 0; i < b.m * K; ++i) {
        double sum = 0;
        for (std::int64_t c = 0; c < chunks; ++c) sum += parts[c * b.m * K + i];
        z[i] = sum;
    }
}

// g[k] += sum_r r[r, k] tile[r], Count components, over whole vectors
template <int Count, class Real>
GOSSAMER_INLINE void column_products(const Real* tile, const Real* r, std::int64_t rows, std::int64_t C,
                                     std::int64_t width, Real* g) {
    using V = simd<Real>;
    constexpr int vectors = vector_registers == 32 ? 4 : 2;
    std::int64_t j = 0;
    for (; j + vectors * V::width <= width; j += vectors * V::width) {
        typename V::type acc[Count][vectors];
        for (int k = 0; k < Count; ++k)
            for (int v = 0; v < vectors; ++v) acc[k][v] = V::load(g + k * block + j + v * V::width);
        for (std::int64_t i = 0; i < rows; ++i) {
            typename V::type x[vectors];
            for (int v = 0; v < vectors; ++v) x[v] = V::load(tile + i * block + j + v * V::width);
            for (int k = 0; k < Count; ++k) {
                const auto weight = V::splat(r[i * C + k]);
                for (int v = 0; v < vectors; ++v) acc[k][v] += weight * x[v];
            }
        }
        for (int k = 0; k < Count; ++k)
            for (int v = 0; v < vectors; ++v) V::store(g + k * block + j + v * V::width, acc[k][v]);
    }
    for (; j < width; j += V::width)
        for (int k = 0; k < Count; ++k) {
            auto acc = V::load(g + k * block + j);
            for (std::int64_t i = 0; i < rows; ++i) acc += V::splat(r[i * C + k]) * V::load(tile + i * block + j);
            V::store(g + k * block + j, acc);
        }
}

template <class Stored, class Real>
double gradient(const Batch<Stored, Real>& b, const Real* r, std::int64_t C, const Real* u, const Real* s, std::int64_t K,
                Real* g, int threads) {
    using V = simd<Real>;
    const std::int64_t chunk = chunk_of(b.p), chunks = ceil_div(b.p, chunk);
    threads = worthwhile_threads(2 * b.m * b.p * C, threads);
    const Scratch squares(8 * most<std::int64_t>(chunks, 1), 1);
    const Scratch memory(static_cast<std::int64_t>(sizeof(Real)) * (panel + C) * block, threads);
    auto* norms = reinterpret_cast<double*>(squares.part(0));
    parallel_chunks_by_thread(chunks, threads, [&](std::int64_t c, int thread) {
        auto* tile = reinterpret_cast<Real*>(memory.part(thread));
        Real* sums = tile + panel * block;
        const std::int64_t end = least((c + 1) * chunk, b.p);
        double norm = 0;
        for (std::int64_t from = c * chunk; from < end; from += block) {
            const std::int64_t width = least(block, end - from), whole = round_up(width, V::width);
            zero(sums, C * block);
            for (std::int64_t row = 0; row < b.m; row += panel) {
                const std::int64_t rows = least(panel, b.m - row);
                load_tile(b, row, rows, from, width, tile);
                for (std::int64_t k = 0; k < C; k += group) {
                    const Real* weight = r + row * C + k;
                    Real* out = sums + k * block;
                    switch (least<std::int64_t>(group, C - k)) {
                        case 1: column_products<1>(tile, weight, rows, C, whole, out); break;
                        case 2: column_products<2>(tile, weight, rows, C, whole, out); break;
                        case 3: column_products<3>(tile, weight, rows, C, whole, out); break;
                        default: column_products<4>(tile, weight, rows, C, whole, out);
                    }
                }
            }
            for (std::int64_t k = 0; k < C; ++k) {
                Real* out = g + k * b.p + from;
                std::memcpy(out, sums + k * block, static_cast<std::size_t>(width) * sizeof(Real));
                if (k >= K) continue;
                if (s)
                    for (std::int64_t l = 0; l < K; ++l) {
                        const Real factor = s[l * K + k], *own = u + l * b.p + from;
                        for (std::int64_t j = 0; j < width; ++j) out[j] += factor * own[j];
                    }
                for (std::int64_t j = 0; j < width; ++j) norm += static_cast<double>(out[j]) * static_cast<double>(out[j]);
            }
        }
        norms[c] = norm;
    });
    double norm = 0;
    for (std::int64_t c = 0; c < chunks; ++c) norm += norms[c];
    return norm;
}

template <class Real>
void adam(Real* u, const Real* g, Real* first, Real* second, std::int64_t count, const Moments& f, int threads) {
    constexpr std::int64_t chunk = 1 << 15;
    const Real a = static_cast<Real>(f.first), b = static_cast<Real>(f.second), scale = static_cast<Real>(f.scale),
               rate = static_cast<Real>(f.rate), epsilon = static_cast<Real>(f.epsilon);
    threads = worthwhile_threads(4 * count, threads);
    parallel_chunks(ceil_div(count, chunk), threads, [&](std::int64_t c) {
        const std::int64_t end = least((c + 1) * chunk, count);
        for (std::int64_t i = c * chunk; i < end; ++i) {
            const Real slope = scale * g[i];
            const Real mean = first[i] = a * first[i] + (1 - a) * slope;
            const Real square = second[i] = b * second[i] + (1 - b) * slope * slope;
            u[i] -= rate * mean / (std::sqrt(square) + epsilon);
        }
    });
}

template <class Stored, class Real>
inline constexpr Passes<Stored, Real> passes{scores<Stored, Real>, gradient<Stored, Real>};

inline constexpr Table kernels{passes<std::int8_t, float>, passes<std::uint8_t, float>, passes<std::uint16_t, float>,
                               passes<float, float>,       passes<double, double>,      adam<float>,
                               adam<double>};

} // namespace GOSSAMER_ISA
} // namespace gossamer::multiview
