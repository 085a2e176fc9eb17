// The one template of the family; each <isa>.cpp includes it and exports its table.
#include "../dispatch/dense.hpp"
#include "../dispatch/parallel.hpp"
#include "../dispatch/scratch.hpp"
#include "layout.inl"

namespace gossamer::monarch {
inline namespace GOSSAMER_ISA {

// Rows of a panel: with two vectors of tokens, as many sums as registers hold beside the operands.
inline constexpr int panel_rows = vector_registers == 32 ? 12 : vector_bytes == 32 ? 6 : 4;
inline constexpr std::int64_t depth_part = 512;           // of a panel, which then stays in L1 for the next strip
inline constexpr std::int64_t tile_strips = 2;            // that go through all stages together, in L2
inline constexpr std::int64_t group_strips = 16;          // that share one pass over weights too large for L3
inline constexpr std::int64_t l3_bytes = 16 * 1024 * 1024; // of weights that may be read once a tile
inline constexpr std::int64_t few_tokens = 4;             // up to here vectors run along a row of weights, not along tokens

// out[i] = weights[at + i * step]
template <class Real>
void widen(const Stage& stage, std::int64_t at, std::int64_t step, std::int64_t count, Real* out) {
    if (!stage.bfloat16) {
        const Real* from = static_cast<const Real*>(stage.weights) + at;
        for (std::int64_t i = 0; i < count; ++i) out[i] = from[i * step];
        return;
    }
    const std::uint16_t* from = static_cast<const std::uint16_t*>(stage.weights) + at;
    for (std::int64_t i = 0; i < count; ++i) {
        const std::uint32_t bits = static_cast<std::uint32_t>(from[i * step]) << 16;
        float value;
        std::memcpy(&value, &bits, 4);
        out[i] = value;
    }
}

inline std::int64_t panels(const Stage& stage) { return ceil_div(stage.rows, panel_rows); }

// Panel `index` of the stage as packed[depth][rows of the panel]: one stream, and no two rows in one set of the cache.
template <class Real>
void pack(const Stage& stage, std::int64_t index, Real* packed) {
    using V = simd<Real>;
    const std::int64_t block = index / panels(stage), first = index % panels(stage) * panel_rows;
    const std::int64_t rows = least<std::int64_t>(panel_rows, stage.rows - first);
    const std::int64_t base = block * stage.block_step + first * stage.row_step;
    if (stage.row_step == 1) { // a transpose: its columns lie in memory as the panel wants them
        for (std::int64_t k = 0; k < stage.depth; ++k)
            widen(stage, base + k * stage.col_step, 1, rows, packed + k * rows);
        return;
    }
    const bool direct = !stage.bfloat16 && stage.col_step == 1;
    for (std::int64_t k = 0; k < stage.depth; k += V::width) {
        const std::int64_t here = least<std::int64_t>(V::width, stage.depth - k);
        Real* to = packed + k * rows;
        if constexpr (panel_rows <= V::width) {
            if (direct && here == V::width) {
                const Real* from = static_cast<const Real*>(stage.weights) + base + k;
                typename V::type lines[V::width] = {};
                for (int r = 0; r < panel_rows; ++r)
                    if (r < rows) lines[r] = V::load(from + r * stage.row_step);
                transpose<Real>(lines);
                const std::int64_t room = (stage.depth - k) * rows - V::width;
                for (int i = 0; i < V::width; ++i) // what a store writes too much, the next one overwrites
                    if (i * rows <= room) V::store(to + i * rows, lines[i]);
                    else for (std::int64_t r = 0; r < rows; ++r) to[i * rows + r] = lines[i][r];
                continue;
            }
        }
        Real square[panel_rows][V::width];
        for (std::int64_t r = 0; r < rows; ++r)
            widen(stage, base + r * stage.row_step + k * stage.col_step, stage.col_step, here, square[r]);
        for (std::int64_t i = 0; i < here; ++i)
            for (std::int64_t r = 0; r < rows; ++r) to[i * rows + r] = square[r][i];
    }
}

// out[target[r]] (+)= sum_k packed[k][r] x[k]; rows of x and of out are strips.
template <class Real, int Rows>
void panel(const Real* packed, std::int64_t depth, const Real* x, Real* out, const std::int32_t* target, bool more) {
    using V = simd<Real>;
    constexpr std::int64_t wide = strip_width<Real>;
    typename V::type sums[Rows][strip_vectors] = {};
    if (more)
        for (int r = 0; r < Rows; ++r)
            if (target[r] >= 0)
                for (int v = 0; v < strip_vectors; ++v) sums[r][v] = V::load(out + target[r] * wide + v * V::width);
    for (std::int64_t k = 0; k < depth; ++k) {
        typename V::type row[strip_vectors];
        for (int v = 0; v < strip_vectors; ++v) row[v] = V::load(x + k * wide + v * V::width);
        for (int r = 0; r < Rows; ++r) {
            const auto value = V::splat(packed[k * Rows + r]);
            for (int v = 0; v < strip_vectors; ++v) sums[r][v] += value * row[v];
        }
    }
    for (int r = 0; r < Rows; ++r)
        if (target[r] >= 0)
            for (int v = 0; v < strip_vectors; ++v) V::store(out + target[r] * wide + v * V::width, sums[r][v]);
}

template <class Real>
using Panel = void (*)(const Real*, std::int64_t, const Real*, Real*, const std::int32_t*, bool);

template <class Real, int Rows = panel_rows>
Panel<Real> panel_of(std::int64_t rows) {
    if constexpr (Rows == 1) return panel<Real, 1>;
    else return rows == Rows ? panel<Real, Rows> : panel_of<Real, Rows - 1>(rows);
}

// Panels [from, to) of one stage for `strips` strips; x and out hold a strip every x_step and out_step.
template <class Real>
void run_panels(const Stage& stage, const Real* packed, std::int64_t from, std::int64_t to, std::int64_t strips,
                const Real* x, std::int64_t x_step, Real* out, std::int64_t out_step) {
    const std::int64_t a_block = panels(stage);
    for (std::int64_t begin = from, end; begin < to; begin = end) {
        const std::int64_t block = begin / a_block;
        end = least(to, (block + 1) * a_block);
        const Real* const inputs = x + block * stage.depth * strip_width<Real>;
        for (std::int64_t k = 0; k < stage.depth; k += depth_part) // a panel's part stays in L1 for the next strip
            for (std::int64_t index = begin; index < end; ++index) {
                const std::int64_t first = index % a_block * panel_rows, row = block * stage.rows + first;
                const std::int64_t rows = least<std::int64_t>(panel_rows, stage.rows - first);
                const auto run = panel_of<Real>(rows);
                for (std::int64_t s = 0; s < strips; ++s)
                    run(packed + row * stage.depth + k * rows, least(depth_part, stage.depth - k),
                        inputs + s * x_step + k * strip_width<Real>, out + s * out_step, stage.target + row, k > 0);
            }
    }
}

// A few tokens: every row of weights is read once, as it lies.
template <class Real>
void multiply_few(const Chain& chain, const Operand<const Real>& x, const Real* bias, const Operand<Real>& y,
                  std::int64_t places, int threads) {
    const std::int64_t n = x.tokens;
    const Scratch store(2 * places * n * static_cast<std::int64_t>(sizeof(Real)), 1);
    Real* in = reinterpret_cast<Real*>(store.part(0));
    Real* out = in + places * n;
    for (std::int64_t i = 0; i < places * n; ++i) in[i] = 0;
    const auto at = [](const auto& a, std::int64_t token, std::int64_t feature) {
        return a.by_token ? token * a.features + feature : feature * a.tokens + token;
    };
    for (std::int64_t t = 0; t < n; ++t)
        for (std::int64_t f = 0; f < x.features; ++f) in[t * places + chain.place[f]] = x.data[at(x, t, f)];
    for (int s = 0; s < chain.count; ++s) {
        const Stage& stage = chain.stages[s];
        const std::int64_t rows = stage.blocks * stage.rows, group = most<std::int64_t>(1, 32768 / stage.depth);
        parallel_chunks(ceil_div(rows, group), threads, [&](std::int64_t chunk) {
            constexpr std::int64_t part = 512;
            Real line[part];
            for (std::int64_t row = chunk * group; row < least(rows, (chunk + 1) * group); ++row) {
                if (stage.target[row] < 0) continue;
                const std::int64_t block = row / stage.rows;
                const std::int64_t base = block * stage.block_step + row % stage.rows * stage.row_step;
                for (std::int64_t t = 0; t < n; ++t) out[t * places + stage.target[row]] = 0;
                for (std::int64_t k = 0; k < stage.depth; k += part) {
                    const std::int64_t here = least(part, stage.depth - k);
                    const Real* values = static_cast<const Real*>(stage.weights) + base + k;
                    if (stage.bfloat16 || stage.col_step != 1) {
                        widen(stage, base + k * stage.col_step, stage.col_step, here, line);
                        values = line;
                    }
                    for (std::int64_t t = 0; t < n; ++t)
                        out[t * places + stage.target[row]] += dot(values, in + t * places + block * stage.depth + k, here);
                }
            }
        });
        Real* const swap = in;
        in = out, out = swap;
    }
    for (std::int64_t t = 0; t < n; ++t)
        for (std::int64_t f = 0; f < y.features; ++f) y.data[at(y, t, f)] = in[t * places + f] + (bias ? bias[f] : 0);
}

template <class Real>
void multiply(const Chain& chain, const Operand<const Real>& x, const Real* bias, const Operand<Real>& y, int threads) {
    constexpr std::int64_t wide = strip_width<Real>;
    const Stage* stages = chain.stages;
    std::int64_t weights = 0, places = y.features;
    for (int i = 0; i < chain.count; ++i) {
        weights += stages[i].blocks * stages[i].rows * stages[i].depth;
        places = most(places, most(stages[i].blocks * stages[i].depth, stages[i].blocks * stages[i].rows));
    }
    const int useful = worthwhile_threads((2 * weights + places) * x.tokens, threads);
    if (x.tokens <= few_tokens) return multiply_few(chain, x, bias, y, places, useful);
    const Scratch store(weights * static_cast<std::int64_t>(sizeof(Real)), 1);
    Real* const packed = reinterpret_cast<Real*>(store.part(0));
    std::int64_t offset = 0;
    for (int i = 0; i < chain.count; ++i) {
        const Stage& stage = stages[i];
        const std::int64_t count = stage.blocks * panels(stage), group = most<std::int64_t>(1, 65536 / (panel_rows * stage.depth));
        parallel_chunks(ceil_div(count, group), useful, [&](std::int64_t chunk) {
            for (std::int64_t index = chunk * group; index < least(count, (chunk + 1) * group); ++index) {
                const std::int64_t row = index / panels(stage) * stage.rows + index % panels(stage) * panel_rows;
                pack(stage, index, packed + offset + row * stage.depth);
            }
        });
        offset += stage.blocks * stage.rows * stage.depth;
    }

    const std::int64_t strips = ceil_div(x.tokens, wide), step = places * wide;
    const std::int64_t first_places = chain.count ? stages[0].blocks * stages[0].depth : places;
    const bool by_tiles = strips >= 4 * tile_strips && weights * static_cast<std::int64_t>(sizeof(Real)) <= l3_bytes;
    const std::int64_t held = by_tiles ? tile_strips : least(strips, group_strips);
    const Scratch strip_store(2 * held * step * static_cast<std::int64_t>(sizeof(Real)), by_tiles ? useful : 1);
    if (by_tiles) {
        parallel_chunks_by_thread(ceil_div(strips, held), useful, [&](std::int64_t chunk, int thread) {
            const std::int64_t first = chunk * held, here = least(held, strips - first);
            Real* in = reinterpret_cast<Real*>(strip_store.part(thread));
            Real* out = in + held * step;
            for (std::int64_t s = 0; s < here; ++s) gather(x, chain.place, first_places, (first + s) * wide, in + s * step);
            const Real* from = packed;
            for (int i = 0; i < chain.count; ++i) {
                run_panels(stages[i], from, 0, stages[i].blocks * panels(stages[i]), here, in, step, out, step);
                from += stages[i].blocks * stages[i].rows * stages[i].depth;
                Real* const swap = in;
                in = out, out = swap;
            }
            for (std::int64_t s = 0; s < here; ++s) scatter(in + s * step, bias, (first + s) * wide, y);
        });
        return;
    }
    for (std::int64_t first = 0; first < strips; first += held) { // threads share the rows
        const std::int64_t here = least(held, strips - first);
        Real* in = reinterpret_cast<Real*>(strip_store.part(0));
        Real* out = in + held * step;
        parallel_chunks(here, useful, [&](std::int64_t s) {
            gather(x, chain.place, first_places, (first + s) * wide, in + s * step);
        });
        const Real* from = packed;
        for (int i = 0; i < chain.count; ++i) {
            const std::int64_t count = stages[i].blocks * panels(stages[i]), group = ceil_div(count, 16);
            parallel_chunks(ceil_div(count, group), useful, [&](std::int64_t chunk) {
                run_panels(stages[i], from, chunk * group, least(count, (chunk + 1) * group), here, in, step, out, step);
            });
            from += stages[i].blocks * stages[i].rows * stages[i].depth;
            Real* const swap = in;
            in = out, out = swap;
        }
        parallel_chunks(here, useful, [&](std::int64_t s) { scatter(in + s * step, bias, (first + s) * wide, y); });
    }
}

inline constexpr Table kernels{multiply<float>, multiply<double>};

} // namespace GOSSAMER_ISA
} // namespace gossamer::monarch
