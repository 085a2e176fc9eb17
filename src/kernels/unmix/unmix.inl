// The one template of the family; each <isa>.cpp includes it and exports its table.
#include "../dispatch/exponential.hpp"
#include "../dispatch/logarithm.hpp"
#include "../dispatch/parallel.hpp"
#include "../dispatch/scratch.hpp"
#include "unmix.hpp"

#include "nonnegative.inl"

namespace gossamer::unmix {
inline namespace GOSSAMER_ISA {

inline constexpr std::int64_t tile = 64;   // pixels whose values stay in the second-level cache
inline constexpr std::int64_t panel = 512; // pixels whose sums stay in vectors of Real before they go to doubles

template <class Real>
inline constexpr int group = least<int>(vector_registers == 32 ? 8 : 4, tile / simd<Real>::width); // vectors held at a time

// Pixels of a chunk: at most 64 chunks.
inline std::int64_t chunk_of(std::int64_t N) { return round_up(ceil_div(most<std::int64_t>(N, 1), 64), panel); }

template <class Real>
struct Bench { // working memory of a thread; the sums of a panel are vectors
    Real *x, *a, *above, *h, *mask, *fresh, *back, *squares, *gram, *terms;
    static std::int64_t size(std::int64_t L, std::int64_t K) {
        return L * tile + 2 * K * tile + 2 * tile + (K + L * K + L + K * K + 2) * simd<Real>::width;
    }
    Bench(Real* memory, std::int64_t L, std::int64_t K) {
        constexpr std::int64_t W = simd<Real>::width;
        x = memory, a = x + L * tile, above = a + K * tile, h = above + K * tile, mask = h + tile, fresh = mask + tile;
        back = fresh + K * W, squares = back + L * K * W, gram = squares + L * W, terms = gram + K * K * W;
    }
};

template <class Real>
void zero(Real* out, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) out[i] = 0;
}

// base^exponent for positive normal bases
template <class Real>
GOSSAMER_INLINE typename simd<Real>::type power(typename simd<Real>::type base, typename simd<Real>::type exponent) {
    return exponential<Real>(exponent * logarithm(base));
}

// Pixels [from, from + count) to lanes: x (L, tile), a (K, tile), h and mask (tile). Lanes of no pixel hold zeros.
template <class Real>
void load(const Pixels<Real>& p, const Terms<Real>& t, const Real* A, std::int64_t K, std::int64_t from, std::int64_t count,
          const Bench<Real>& b) {
    for (std::int64_t i = 0; i < tile; ++i) {
        const bool there = i < count && (!p.live || p.live[from + i]);
        b.mask[i] = there ? Real{1} : Real{0};
        b.h[i] = there ? t.h[from + i] : Real{0};
        for (std::int64_t k = 0; k < K; ++k) b.a[k * tile + i] = there ? A[(from + i) * K + k] : Real{0};
    }
    if (p.channel_stride != 1) {
        for (std::int64_t l = 0; l < p.L; ++l) {
            const Real* row = p.x + l * p.channel_stride + from;
            for (std::int64_t i = 0; i < count; ++i) b.x[l * tile + i] = row[i] * p.scale * b.mask[i];
            zero(b.x + l * tile + count, tile - count);
        }
        return;
    }
    constexpr std::int64_t line = 64 / sizeof(Real); // of a row at a time: the lanes written stay in the first-level cache
    for (std::int64_t l = 0; l < p.L; l += line) {
        const std::int64_t width = least(line, p.L - l);
        Real* out = b.x + l * tile;
        for (std::int64_t i = 0; i < count; ++i) {
            const Real* row = p.x + (from + i) * p.pixel_stride + l;
            const Real factor = p.scale * b.mask[i];
            if (width == line)
                for (std::int64_t j = 0; j < line; ++j) out[j * tile + i] = row[j] * factor;
            else
                for (std::int64_t j = 0; j < width; ++j) out[j * tile + i] = row[j] * factor;
        }
        if (count < tile)
            for (std::int64_t j = 0; j < width; ++j) zero(out + j * tile + count, tile - count);
    }
}

// above[k] = square + sum_l w[l, k] x[l] for Count of the K columns
template <int Count, class Real>
void sides(const Real* x, std::int64_t L, const Real* w, std::int64_t K, Real square, Real* above) {
    using V = simd<Real>;
    constexpr int vectors = vector_registers == 32 ? 4 : 2;
    for (std::int64_t i = 0; i < tile; i += vectors * V::width) {
        typename V::type acc[Count][vectors];
        for (int k = 0; k < Count; ++k)
            for (int v = 0; v < vectors; ++v) acc[k][v] = V::splat(square);
        for (std::int64_t l = 0; l < L; ++l) {
            typename V::type here[vectors];
            for (int v = 0; v < vectors; ++v) here[v] = V::load(x + l * tile + i + v * V::width);
            for (int k = 0; k < Count; ++k) {
                const auto weight = V::splat(w[l * K + k]);
                for (int v = 0; v < vectors; ++v) acc[k][v] += weight * here[v];
            }
        }
        for (int k = 0; k < Count; ++k)
            for (int v = 0; v < vectors; ++v) V::store(above + k * tile + i + v * V::width, acc[k][v]);
    }
}

// The multiplicative steps of the shares in b.a.
template <class Real>
void improve(const Spectra<Real>& s, const Terms<Real>& t, const Bench<Real>& b) {
    using V = simd<Real>;
    const std::int64_t K = s.K;
    const auto tiny = V::splat(sizeof(Real) == 4 ? static_cast<Real>(1.17549435e-38) : static_cast<Real>(2.2250738585072014e-308));
    const auto floor = V::splat(t.floor), xi = V::splat(t.xi);
    for (std::int64_t i = 0; i < tile; i += V::width) {
        const auto h = V::load(b.h + i), rate = V::splat(t.lam) * (V::splat(Real{1}) - h), there = V::load(b.mask + i);
        for (int step = 0; step < t.steps; ++step) {
            for (std::int64_t k = 0; k < K; ++k) {
                const auto here = V::load(b.a + k * tile + i);
                auto below = tiny;
                for (std::int64_t j = 0; j < K; ++j) below += V::splat(s.gram[k * K + j]) * V::load(b.a + j * tile + i);
                if (t.lam != 0) below += rate * power<Real>(here + xi, -h);
                const auto next = here * (V::load(b.above + k * tile + i) / below);
                const auto kept = next < floor ? floor : next;
                V::store(b.fresh + k * V::width, there > typename V::type{} ? kept : typename V::type{}); // a lane of no pixel has inf * 0
            }
            for (std::int64_t k = 0; k < K; ++k) V::store(b.a + k * tile + i, V::load(b.fresh + k * V::width));
        }
    }
}

// Adds the tile to the sums of its panel.
template <class Real>
void measure(const Spectra<Real>& s, const Terms<Real>& t, std::int64_t L, const Bench<Real>& b) {
    using V = simd<Real>;
    constexpr int G = group<Real>;
    const std::int64_t K = s.K;
    for (std::int64_t l = 0; l < L; ++l)
        for (std::int64_t i = 0; i < tile; i += G * V::width) {
            typename V::type x[G], rest[G];
            for (int v = 0; v < G; ++v) x[v] = rest[v] = V::load(b.x + l * tile + i + v * V::width);
            for (std::int64_t k = 0; k < K; ++k) {
                const auto m = V::splat(s.plain[l * K + k]);
                Real* out = b.back + (l * K + k) * V::width;
                auto sum = V::load(out);
                for (int v = 0; v < G; ++v) {
                    const auto a = V::load(b.a + k * tile + i + v * V::width);
                    rest[v] -= m * a;
                    sum += x[v] * a;
                }
                V::store(out, sum);
            }
            auto squares = V::load(b.squares + l * V::width);
            for (int v = 0; v < G; ++v) squares += rest[v] * rest[v];
            V::store(b.squares + l * V::width, squares);
        }
    auto sparse = V::load(b.terms), one = V::load(b.terms + V::width);
    for (std::int64_t i = 0; i < tile; i += V::width) {
        const auto h = V::load(b.h + i), mask = V::load(b.mask + i);
        auto gap = mask;
        for (std::int64_t k = 0; k < K; ++k) {
            const auto a = V::load(b.a + k * tile + i);
            gap -= a;
            if (t.lam != 0) {
                const auto base = a + V::splat(t.xi);
                sparse += mask * base * power<Real>(base, -h);
            }
            for (std::int64_t j = 0; j <= k; ++j) {
                Real* out = b.gram + (k * K + j) * V::width;
                V::store(out, V::load(out) + a * V::load(b.a + j * tile + i));
            }
        }
        one += gap * gap;
    }
    V::store(b.terms, sparse);
    V::store(b.terms + V::width, one);
}

// Vectors of a panel into doubles, and zeros again.
template <class Real>
void flush(Real* vectors, std::int64_t count, double* out) {
    using V = simd<Real>;
    for (std::int64_t i = 0; i < count; ++i) {
        out[i] += static_cast<double>(V::sum(V::load(vectors + i * V::width)));
        V::store(vectors + i * V::width, typename V::type{});
    }
}

template <class Real>
void all_sides(const Spectra<Real>& s, const Terms<Real>& t, std::int64_t L, const Bench<Real>& b) {
    for (std::int64_t k = 0; k < s.K; k += 4) {
        const Real* w = s.weighted + k;
        Real* above = b.above + k * tile;
        switch (least<std::int64_t>(4, s.K - k)) {
            case 1: sides<1>(b.x, L, w, s.K, t.square, above); break;
            case 2: sides<2>(b.x, L, w, s.K, t.square, above); break;
            case 3: sides<3>(b.x, L, w, s.K, t.square, above); break;
            default: sides<4>(b.x, L, w, s.K, t.square, above);
        }
    }
}

template <class Real>
void sweep(const Pixels<Real>& p, const Spectra<Real>& s, const Terms<Real>& t, Real* A, const Sums& sums, int threads) {
    const std::int64_t L = p.L, K = s.K, chunk = chunk_of(p.N), chunks = ceil_div(p.N, chunk);
    const std::int64_t size = L * K + L + K * K + 2;
    threads = worthwhile_threads(p.N * L * K / 4, threads); // six operations in vectors of eight or more, and change
    const Scratch partial(8 * size * most<std::int64_t>(chunks, 1), 1);
    const Scratch memory(static_cast<std::int64_t>(sizeof(Real)) * Bench<Real>::size(L, K), threads);
    auto* parts = reinterpret_cast<double*>(partial.part(0));
    parallel_chunks_by_thread(chunks, threads, [&](std::int64_t c, int thread) {
        const Bench<Real> b(reinterpret_cast<Real*>(memory.part(thread)), L, K);
        double* out = parts + c * size;
        zero(out, size);
        zero(b.back, size * simd<Real>::width);
        const std::int64_t end = least((c + 1) * chunk, p.N);
        for (std::int64_t from = c * chunk; from < end; from += tile) {
            const std::int64_t count = least(tile, end - from);
            load(p, t, A, K, from, count, b);
            if (t.steps) {
                all_sides(s, t, L, b);
                improve(s, t, b);
                for (std::int64_t i = 0; i < count; ++i)
                    if (b.mask[i] != 0)
                        for (std::int64_t k = 0; k < K; ++k) A[(from + i) * K + k] = b.a[k * tile + i];
            }
            if (t.measure) measure(s, t, L, b);
            if ((from + tile) % panel == 0 || from + tile >= end) flush(b.back, size, out);
        }
    });
    const double* terms[4];
    double* outs[4] = {sums.back, sums.squares, sums.gram, sums.terms};
    const std::int64_t counts[4] = {L * K, L, K * K, 2};
    terms[0] = parts;
    for (int i = 1; i < 4; ++i) terms[i] = terms[i - 1] + counts[i - 1];
    for (int i = 0; i < 4; ++i)
        for (std::int64_t j = 0; j < counts[i]; ++j) {
            double sum = 0;
            for (std::int64_t c = 0; c < chunks; ++c) sum += terms[i][c * size + j];
            outs[i][j] = sum;
        }
    for (std::int64_t k = 0; k < K; ++k)
        for (std::int64_t j = k + 1; j < K; ++j) sums.gram[k * K + j] = sums.gram[j * K + k];
}

inline constexpr Table kernels{sweep<float>, sweep<double>, nonnegative};

} // namespace GOSSAMER_ISA
} // namespace gossamer::unmix
