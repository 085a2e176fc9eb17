// The one template of the family; each <isa>.cpp includes it and exports its table.
#include "../dispatch/dense.hpp"
#include "../dispatch/parallel.hpp"
#include "../dispatch/scratch.hpp"
#include "monomial.hpp"

namespace gossamer::monomial {
inline namespace GOSSAMER_ISA {

// Points that are worked on at once: one a lane, so that features are rows of this length.
template <class Real>
std::int64_t tile_points(std::int64_t features) {
    constexpr std::int64_t lanes = 64 / sizeof(Real), budget = 256 * 1024 / sizeof(Real);
    return least<std::int64_t>(8, most<std::int64_t>(1, budget / (features * lanes))) * lanes;
}

// to[c][i] = from[i][c] for the points that there are, zero for the rest of the tile
template <class Real>
void transpose(const Real* from, std::int64_t count, std::int64_t columns, std::int64_t tile, Real* to) {
    for (std::int64_t c = 0; c < columns; ++c) {
        for (std::int64_t i = 0; i < count; ++i) to[c * tile + i] = from[i * columns + c];
        for (std::int64_t i = count; i < tile; ++i) to[c * tile + i] = 0;
    }
}

template <class Real>
void expand(const Program& program, const Real* x, std::int64_t tile, Real* f) {
    using V = simd_of<Real, 64>;
    for (std::int64_t i = 0; i < tile; ++i) f[i] = 1;
    for (std::int64_t m = 1; m < program.features; ++m) {
        const Real* parent = f + program.parent[m] * tile;
        const Real* factor = x + program.variable[m] * tile;
        for (std::int64_t i = 0; i < tile; i += V::width)
            V::store(f + m * tile + i, V::load(parent + i) * V::load(factor + i));
    }
}

// dx += the gradient through the features; df is used up
template <class Real>
void pull_back(const Program& program, const Real* x, const Real* f, std::int64_t tile, Real* df, Real* dx) {
    using V = simd_of<Real, 64>;
    for (std::int64_t m = program.features - 1; m > 0; --m) {
        const std::int64_t parent = program.parent[m] * tile, variable = program.variable[m] * tile;
        for (std::int64_t i = 0; i < tile; i += V::width) {
            const auto here = V::load(df + m * tile + i);
            V::store(df + parent + i, V::load(df + parent + i) + here * V::load(x + variable + i));
            V::store(dx + variable + i, V::load(dx + variable + i) + here * V::load(f + parent + i));
        }
    }
}

// Work is cut into tiles of points, and tiles into runs: one run a task, each with sums of its own.
struct Cut {
    std::int64_t tile, runs, points; // points a run, a multiple of the tile

    template <class Real>
    static Cut of(const Points<Real>& x, std::int64_t features, std::int64_t most_runs) {
        const std::int64_t tile = tile_points<Real>(features), tiles = ceil_div(x.n, tile);
        const std::int64_t runs = most<std::int64_t>(1, least(most_runs, ceil_div(tiles, 4)));
        const std::int64_t points = most<std::int64_t>(1, ceil_div(tiles, runs)) * tile;
        return {tile, most<std::int64_t>(1, ceil_div(x.n, points)), points};
    }
};

inline constexpr std::int64_t free_runs = 1 << 20; // as many as there is work for

// body(batch, from, count, run, memory) for every tile
template <class Real, class Body>
void over_tiles(const Points<Real>& x, const Cut& cut, std::int64_t numbers, std::int64_t work, int threads,
                const Body& body) {
    threads = worthwhile_threads(work, threads);
    const Scratch memory(most<std::int64_t>(numbers, 1) * static_cast<std::int64_t>(sizeof(Real)), threads);
    parallel_chunks_by_thread(x.batch * cut.runs, threads, [&](std::int64_t task, int thread) {
        const std::int64_t b = task / cut.runs, run = task % cut.runs;
        const std::int64_t end = least(x.n, (run + 1) * cut.points);
        auto* own = reinterpret_cast<Real*>(memory.part(thread));
        for (std::int64_t from = run * cut.points; from < end; from += cut.tile)
            body(b, from, least(cut.tile, end - from), run, own);
    });
}

template <class Real>
void features(const Program& program, const Points<Real>& x, Real* out, int threads) {
    const Cut cut = Cut::of(x, program.features, free_runs);
    const std::int64_t r = program.features, tile = cut.tile;
    over_tiles(x, cut, (x.d + r) * tile, 2 * x.batch * x.n * r, threads,
               [&](std::int64_t b, std::int64_t from, std::int64_t count, std::int64_t, Real* own) {
                   Real* f = own + x.d * tile;
                   transpose(x.data + (b * x.n + from) * x.d, count, x.d, tile, own);
                   expand(program, own, tile, f);
                   Real* rows = out + (b * x.n + from) * r;
                   for (std::int64_t i = 0; i < count; ++i)
                       for (std::int64_t m = 0; m < r; ++m) rows[i * r + m] = f[m * tile + i];
               });
}

template <class Real>
void accumulate(const Program& program, const Points<Real>& x, const Real* v, std::int64_t p, Real* s, int threads) {
    const std::int64_t r = program.features;
    constexpr std::int64_t lanes = 64 / sizeof(Real);
    const std::int64_t width = p <= lanes / 2 ? round_up(p, 4) : round_up(p, lanes); // whole vectors
    const std::int64_t sums = r * width;
    // a limit on the memory of partial sums that knows nothing of threads
    const std::int64_t limit = (std::int64_t{64} << 20) / static_cast<std::int64_t>(sizeof(Real));
    const std::int64_t runs = least(ceil_div(16, most<std::int64_t>(x.batch, 1)), limit / most<std::int64_t>(sums, 1));
    const Cut cut = Cut::of(x, r, most<std::int64_t>(1, runs));
    const std::int64_t tile = cut.tile, parts = x.batch * cut.runs;
    const Scratch memory(most<std::int64_t>(parts * sums, 1) * static_cast<std::int64_t>(sizeof(Real)), 1);
    auto* partial = reinterpret_cast<Real*>(memory.part(0));
    over_tiles(x, cut, (x.d + r + width) * tile, x.batch * x.n * r * (1 + 2 * p), threads,
               [&](std::int64_t b, std::int64_t from, std::int64_t count, std::int64_t run, Real* own) {
                   Real* f = own + x.d * tile;
                   Real* values = f + r * tile;
                   transpose(x.data + (b * x.n + from) * x.d, count, x.d, tile, own);
                   expand(program, own, tile, f);
                   const Real* rows = v + (b * x.n + from) * p;
                   for (std::int64_t i = 0; i < count; ++i)
                       for (std::int64_t c = 0; c < width; ++c) values[i * width + c] = c < p ? rows[i * p + c] : 0;
                   panel_times_matrix(f, tile, r, count, values, width, partial + (b * cut.runs + run) * sums,
                                      from > run * cut.points);
               });
    for (std::int64_t b = 0; b < x.batch; ++b)
        for (std::int64_t m = 0; m < r; ++m)
            for (std::int64_t c = 0; c < p; ++c) {
                Real sum = 0;
                if (x.n)
                    for (std::int64_t run = 0; run < cut.runs; ++run)
                        sum += partial[(b * cut.runs + run) * sums + m * width + c];
                s[(b * r + m) * p + c] = sum;
            }
}

template <class Real>
void apply(const Program& program, const Points<Real>& x, const Real* w, std::int64_t p, Real* y, int threads) {
    const Cut cut = Cut::of(x, program.features, free_runs);
    const std::int64_t r = program.features, tile = cut.tile;
    over_tiles(x, cut, (x.d + r + p) * tile, x.batch * x.n * r * (1 + 2 * p), threads,
               [&](std::int64_t b, std::int64_t from, std::int64_t count, std::int64_t, Real* own) {
                   Real* f = own + x.d * tile;
                   Real* product = f + r * tile;
                   transpose(x.data + (b * x.n + from) * x.d, count, x.d, tile, own);
                   expand(program, own, tile, f);
                   panel_times_matrix(w + b * p * r, r, p, r, f, tile, product, false);
                   Real* rows = y + (b * x.n + from) * p;
                   for (std::int64_t i = 0; i < count; ++i)
                       for (std::int64_t c = 0; c < p; ++c) rows[i * p + c] = product[c * tile + i];
               });
}

template <class Real>
void gradient(const Program& program, const Points<Real>& x, const Real* v, const Real* s, std::int64_t p, Real* dx,
              int threads) {
    const Cut cut = Cut::of(x, program.features, free_runs);
    const std::int64_t r = program.features, tile = cut.tile, d = x.d;
    over_tiles(x, cut, (2 * d + 2 * r + p) * tile, x.batch * x.n * r * (5 + 2 * p), threads,
               [&](std::int64_t b, std::int64_t from, std::int64_t count, std::int64_t, Real* own) {
                   Real* f = own + d * tile;
                   Real* df = f + r * tile;
                   Real* slopes = df + r * tile;
                   Real* values = slopes + d * tile;
                   transpose(x.data + (b * x.n + from) * d, count, d, tile, own);
                   transpose(v + (b * x.n + from) * p, count, p, tile, values);
                   expand(program, own, tile, f);
                   panel_times_matrix(s + b * r * p, p, r, p, values, tile, df, false);
                   for (std::int64_t i = 0; i < d * tile; ++i) slopes[i] = 0;
                   pull_back(program, own, f, tile, df, slopes);
                   Real* rows = dx + (b * x.n + from) * d;
                   for (std::int64_t i = 0; i < count; ++i)
                       for (std::int64_t l = 0; l < d; ++l) rows[i * d + l] = slopes[l * tile + i];
               });
}

template <class Real>
inline constexpr Entries<Real> entries{features<Real>, accumulate<Real>, apply<Real>, gradient<Real>};

inline constexpr Table kernels{entries<float>, entries<double>};

} // namespace GOSSAMER_ISA
} // namespace gossamer::monomial
