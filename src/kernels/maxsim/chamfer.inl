// Sums of best inner products: a product of matrices of which only the largest entry of each column is kept.
#pragma once

#include "../dispatch/parallel.hpp"
#include "../dispatch/scratch.hpp"
#include "rows.inl"

namespace gossamer::maxsim {
inline namespace GOSSAMER_ISA {

inline constexpr int widest = vector_registers == 32 ? 4 : 2;  // vectors of query columns at a time
inline constexpr std::int64_t rows_at_once = 48;               // that are widened together

// best[c] = max(best[c], rows . query[:, c]) for Rows rows and Vectors vectors of columns
template <int Rows, int Vectors>
GOSSAMER_INLINE void raise_tile(const float* rows, std::int64_t dim, const float* query, std::int64_t padded, float* best) {
    typename V::type sums[Rows][Vectors] = {};
    for (std::int64_t k = 0; k < dim; ++k) {
        typename V::type q[Vectors];
        for (int v = 0; v < Vectors; ++v) q[v] = V::load(query + k * padded + v * V::width);
        for (int r = 0; r < Rows; ++r) {
            const auto value = V::splat(rows[r * dim + k]);
            for (int v = 0; v < Vectors; ++v) sums[r][v] += value * q[v];
        }
    }
    for (int v = 0; v < Vectors; ++v) {
        auto top = V::load(best + v * V::width);
        for (int r = 0; r < Rows; ++r) top = sums[r][v] > top ? sums[r][v] : top;
        V::store(best + v * V::width, top);
    }
}

// All rows; the last tile may overlap the one before, which changes no maximum.
template <int Rows, int Vectors>
void raise_rows(const float* rows, std::int64_t count, std::int64_t dim, const float* query, std::int64_t padded, float* best) {
    if constexpr (Rows > 1) {
        if (count < Rows) return raise_rows<Rows / 2, Vectors>(rows, count, dim, query, padded, best);
    }
    for (std::int64_t r = 0; r < count; r += Rows)
        raise_tile<Rows, Vectors>(rows + least(r, count - Rows) * dim, dim, query, padded, best);
}

template <int Vectors>
void raise_columns(const float* rows, std::int64_t count, std::int64_t dim, const float* query, std::int64_t column,
                   std::int64_t padded, float* best) {
    constexpr int tile = Vectors == 1 ? 12 : 6 * widest / Vectors;
    for (; column + Vectors * V::width <= padded; column += Vectors * V::width)
        raise_rows<tile, Vectors>(rows, count, dim, query + column, padded, best + column);
    if constexpr (Vectors > 1)
        if (column < padded) raise_columns<Vectors / 2>(rows, count, dim, query, column, padded, best);
}

template <class Value>
float score(const Value* document, std::int64_t tokens, std::int64_t dim, const float* query, std::int64_t terms,
            std::int64_t padded, float* best, float* wide) {
    for (std::int64_t c = 0; c < padded; ++c) best[c] = -__builtin_inff();
    const std::int64_t step = sizeof(Value) == sizeof(float) ? tokens : rows_at_once;
    for (std::int64_t from = 0; from < tokens; from += step) {
        const std::int64_t count = least(step, tokens - from);
        raise_columns<widest>(wide_rows(document + from * dim, count * dim, wide), count, dim, query, 0, padded, best);
    }
    double sum = 0;
    for (std::int64_t c = 0; c < terms; ++c) sum += static_cast<double>(best[c]);
    return static_cast<float>(sum);
}

inline void chamfer(const Sets& queries, const Sets& documents, const Tasks& tasks, float* out, int threads) {
    const std::int64_t dim = documents.dim, room = round_up(longest(queries), V::width);
    const auto* terms = static_cast<const float*>(queries.vectors);
    std::int64_t work = 0;
    for (std::int64_t t = 0; t < tasks.count; ++t) work += (tasks.last[t] - tasks.first[t]) * 32 * dim;
    threads = worthwhile_threads(work, threads);
    const Scratch scratch(((dim + 1) * room + rows_at_once * dim) * static_cast<std::int64_t>(sizeof(float)), threads);
    with_type(documents, [&](const auto* vectors) {
        parallel_chunks_by_thread(tasks.count, threads, [&](std::int64_t t, int thread) {
            const std::int64_t q = tasks.query[t], count = queries.offsets[q + 1] - queries.offsets[q];
            const std::int64_t padded = round_up(count, V::width);
            float* query = reinterpret_cast<float*>(scratch.part(thread)); // columns: terms, then zeros
            float *best = query + dim * room, *wide = best + room;
            const float* from = terms + queries.offsets[q] * dim;
            for (std::int64_t k = 0; k < dim; ++k)
                for (std::int64_t c = 0; c < padded; ++c) query[k * padded + c] = c < count ? from[c * dim + k] : 0;
            for (std::int64_t p = tasks.first[t]; p < tasks.last[t]; ++p) {
                const std::int64_t d = tasks.pairs[p], first = documents.offsets[d];
                out[p] = score(vectors + first * dim, documents.offsets[d + 1] - first, dim, query, count, padded, best, wide);
            }
        });
    });
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::maxsim
