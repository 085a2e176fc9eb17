// The one template of the family; each <isa>.cpp includes it and exports its table.
#include "../dispatch/parallel.hpp"
#include "../dispatch/scratch.hpp"
#include "propagate.hpp"

namespace gossamer::propagate {
inline namespace GOSSAMER_ISA {

inline constexpr int widest = vector_registers == 32 ? 8 : 4; // vectors a chain; two chains leave registers for the rest

// Columns in `Vectors` vectors, edges in two chains that hide the latency of an addition.
template <bool Weighted, int Bytes, int Vectors>
void sum_columns(const float* weights, const std::int32_t* neighbours, std::int64_t count, const float* x,
                 std::int64_t column, std::int64_t width, float scale, float* y) {
    using V = simd_of<float, Bytes>;
    for (; column + Vectors * V::width <= width; column += Vectors * V::width) {
        typename V::type sums[2][Vectors] = {};
        const auto add = [&](std::int64_t e, typename V::type* to) {
            const float* from = x + static_cast<std::int64_t>(neighbours[e]) * width + column;
            if constexpr (Weighted) {
                const auto weight = V::splat(weights[e]);
                for (int v = 0; v < Vectors; ++v) to[v] += weight * V::load(from + v * V::width);
            } else {
                for (int v = 0; v < Vectors; ++v) to[v] += V::load(from + v * V::width);
            }
        };
        std::int64_t e = 0;
        for (; e + 2 <= count; e += 2) add(e, sums[0]), add(e + 1, sums[1]);
        if (e < count) add(e, sums[0]);
        for (int v = 0; v < Vectors; ++v)
            V::store(y + column + v * V::width, V::splat(scale) * (sums[0][v] + sums[1][v]));
    }
    if (column == width) return;
    if constexpr (Vectors > 1)
        sum_columns<Weighted, Bytes, Vectors / 2>(weights, neighbours, count, x, column, width, scale, y);
    else if constexpr (Bytes > static_cast<int>(sizeof(float)))
        sum_columns<Weighted, Bytes / 2, 1>(weights, neighbours, count, x, column, width, scale, y);
}

// In pieces of 64, each in float: the same sum however the columns are cut into panels of such pieces.
inline double square(const float* y, std::int64_t width) {
    using V = simd_of<float, 16>;
    double total = 0;
    for (std::int64_t from = 0; from < width; from += 64) {
        const std::int64_t last = least(width, from + 64);
        V::type sums[4] = {};
        std::int64_t c = from;
        for (; c + 16 <= last; c += 16)
            for (int v = 0; v < 4; ++v) {
                const auto part = V::load(y + c + 4 * v);
                sums[v] += part * part;
            }
        float piece = V::sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
        for (; c < last; ++c) piece += y[c] * y[c];
        total += static_cast<double>(piece);
    }
    return total;
}

inline void finish(const After& after, std::int64_t row, const float* y, std::int64_t width) {
    const bool own = after.total && !after.coefficients;
    const double length = after.squares || own ? square(y, width) : 0;
    if (after.squares) after.squares[row] += length;
    if (!after.total) return;
    const float factor = !own ? after.coefficients[row]
                         : length > 0 ? static_cast<float>(static_cast<double>(after.alpha) / __builtin_sqrt(length))
                                      : 0.0f;
    float* total = after.total + row * width;
    for (std::int64_t c = 0; c < width; ++c) total[c] += factor * y[c];
}

template <class Row>
void each_row(const Graph& graph, std::int64_t width, std::int64_t work, const After& after, int threads, const Row& sum) {
    threads = worthwhile_threads(work, threads);
    const Scratch own(after.y ? 1 : width * static_cast<std::int64_t>(sizeof(float)), threads);
    parallel_chunks_by_thread(graph.pieces, threads, [&](std::int64_t piece, int thread) {
        float* room = reinterpret_cast<float*>(own.part(thread));
        for (std::int64_t row = graph.cuts[piece]; row < graph.cuts[piece + 1]; ++row) {
            float* y = after.y ? after.y + row * width : room;
            sum(row, graph.indptr[row], graph.indptr[row + 1] - graph.indptr[row], graph.scale ? graph.scale[row] : 1.0f, y);
            finish(after, row, y, width);
        }
    });
}

inline void dense(const Graph& graph, const float* x, std::int64_t width, const After& after, int threads) {
    const auto sum = [&](std::int64_t, std::int64_t first, std::int64_t count, float scale, float* y) {
        const std::int32_t* neighbours = graph.indices + first;
        if (graph.weights)
            sum_columns<true, vector_bytes, widest>(graph.weights + first, neighbours, count, x, 0, width, scale, y);
        else
            sum_columns<false, vector_bytes, widest>(nullptr, neighbours, count, x, 0, width, scale, y);
    };
    each_row(graph, width, graph.indptr[graph.rows] * width, after, threads, sum);
}

inline void sparse(const Graph& graph, const Sparse& x, std::int64_t width, const After& after, int threads) {
    const auto sum = [&](std::int64_t, std::int64_t first, std::int64_t count, float scale, float* y) {
        for (std::int64_t c = 0; c < width; ++c) y[c] = 0;
        for (std::int64_t e = first; e < first + count; ++e) {
            const std::int64_t j = graph.indices[e];
            const float weight = scale * (graph.weights ? graph.weights[e] : 1.0f);
            for (std::int64_t r = x.indptr[j]; r < x.indptr[j + 1]; ++r) y[x.indices[r]] += weight * x.values[r];
        }
    };
    each_row(graph, width, graph.indptr[graph.rows] + graph.rows * width, after, threads, sum);
}

// Calls body(row) for rows of `width` numbers, in pieces of about the first-level cache.
template <class Body>
void stream_rows(std::int64_t rows, std::int64_t width, int threads, const Body& body) {
    const std::int64_t piece = most<std::int64_t>(1, 8192 / most<std::int64_t>(width, 1));
    parallel_chunks((rows + piece - 1) / piece, worthwhile_threads(rows * width, threads), [&](std::int64_t chunk) {
        const std::int64_t last = least(rows, (chunk + 1) * piece);
        for (std::int64_t row = chunk * piece; row < last; ++row) body(row);
    });
}

inline void scale(const float* y, const float* coefficients, std::int64_t rows, std::int64_t width, float* out,
                  std::int64_t stride, bool add, int threads) {
    stream_rows(rows, width, threads, [=](std::int64_t row) {
        const float factor = coefficients[row];
        const float* from = y + row * width;
        float* to = out + row * stride;
        if (add)
            for (std::int64_t c = 0; c < width; ++c) to[c] += factor * from[c];
        else
            for (std::int64_t c = 0; c < width; ++c) to[c] = factor * from[c];
    });
}

inline void moments(const float* x, std::int64_t rows, std::int64_t width, const Columns& to, int threads) {
    const std::int64_t pieces = (rows + to.piece - 1) / to.piece;
    parallel_chunks(pieces, worthwhile_threads(rows * width, threads), [&](std::int64_t piece) {
        double* sums = to.sums + piece * width;
        double* squares = to.squares + piece * width;
        for (std::int64_t c = 0; c < width; ++c) sums[c] = squares[c] = 0;
        const std::int64_t last = least(rows, (piece + 1) * to.piece);
        for (std::int64_t row = piece * to.piece; row < last; ++row) {
            const float* from = x + row * width;
            for (std::int64_t c = 0; c < width; ++c) {
                const double part = static_cast<double>(from[c]) - static_cast<double>(to.shift[c]);
                sums[c] += part;
                squares[c] += part * part;
            }
        }
    });
}

inline void standardize(float* x, std::int64_t rows, std::int64_t width, const double* mean, const double* inverse,
                        int threads) {
    stream_rows(rows, width, threads, [=](std::int64_t row) {
        float* to = x + row * width;
        for (std::int64_t c = 0; c < width; ++c)
            to[c] = static_cast<float>((static_cast<double>(to[c]) - mean[c]) * inverse[c]);
    });
}

inline constexpr Table kernels{dense, sparse, scale, moments, standardize};

} // namespace GOSSAMER_ISA
} // namespace gossamer::propagate
