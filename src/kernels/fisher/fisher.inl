// The one template of the family; each <isa>.cpp includes it and exports its table.
#include "../dispatch/parallel.hpp"
#include "../dispatch/scratch.hpp"
#include "fisher.hpp"

#include <cmath>

namespace gossamer::fisher {
inline namespace GOSSAMER_ISA {

using V = simd<double>;
inline constexpr std::int64_t chunk = 4096; // columns: x in float64 stays in the first-level cache

inline double widen(float v) { return v; }
inline double widen(double v) { return v; }
inline double widen(bfloat16 v) {
    const std::uint32_t bits = static_cast<std::uint32_t>(v.bits) << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

template <class Value>
GOSSAMER_INLINE V::type load_wide(const Value* p) {
    if constexpr (sizeof(Value) == 8) {
        return V::load(p);
    } else if constexpr (sizeof(Value) == 4) {
        typedef float narrow __attribute__((vector_size(V::width * 4)));
        narrow v;
        std::memcpy(&v, p, sizeof v);
        return __builtin_convertvector(v, V::type);
    } else {
        typedef std::uint16_t raw __attribute__((vector_size(V::width * 2)));
        typedef std::uint32_t wide __attribute__((vector_size(V::width * 4)));
        typedef float narrow __attribute__((vector_size(V::width * 4)));
        raw v;
        std::memcpy(&v, p, sizeof v);
        const wide bits = __builtin_convertvector(v, wide) << 16;
        narrow values;
        std::memcpy(&values, &bits, sizeof bits);
        return __builtin_convertvector(values, V::type);
    }
}

// t[r] = G[r, :count] x for Count neighbouring rows
template <int Count, class Value>
GOSSAMER_INLINE void dots(const Value* g, std::int64_t stride, const double* x, std::int64_t count, double* t) {
    typename V::type sums[Count][2] = {};
    std::int64_t i = 0;
    for (; i + 2 * V::width <= count; i += 2 * V::width) {
        const auto x0 = V::load(x + i), x1 = V::load(x + i + V::width);
        for (int r = 0; r < Count; ++r) {
            sums[r][0] += load_wide(g + r * stride + i) * x0;
            sums[r][1] += load_wide(g + r * stride + i + V::width) * x1;
        }
    }
    for (int r = 0; r < Count; ++r) {
        double tail = 0;
        for (std::int64_t k = i; k < count; ++k) tail += widen(g[r * stride + k]) * x[k];
        t[r] = V::sum(sums[r][0] + sums[r][1]) + tail;
    }
}

template <class Value>
void all_dots(const Value* g, std::int64_t stride, std::int64_t m, const double* x, std::int64_t count, double* t) {
    std::int64_t r = 0;
    for (; r + 4 <= m; r += 4) dots<4>(g + r * stride, stride, x, count, t + r);
    for (; r < m; ++r) dots<1>(g + r * stride, stride, x, count, t + r);
}

// y[:count] -= sum_r c[r] G[r, :count] for Count neighbouring rows
template <int Count, class Value>
GOSSAMER_INLINE void subtract(const Value* g, std::int64_t stride, const double* c, std::int64_t count, double* y) {
    std::int64_t i = 0;
    for (; i + V::width <= count; i += V::width) {
        auto sum = V::load(y + i);
        for (int r = 0; r < Count; ++r) sum -= load_wide(g + r * stride + i) * V::splat(c[r]);
        V::store(y + i, sum);
    }
    for (; i < count; ++i)
        for (int r = 0; r < Count; ++r) y[i] -= widen(g[r * stride + i]) * c[r];
}

template <class Value>
void subtract_all(const Value* g, std::int64_t stride, std::int64_t m, const double* c, std::int64_t count, double* y) {
    std::int64_t r = 0;
    for (; r + 8 <= m; r += 8) subtract<8>(g + r * stride, stride, c + r, count, y);
    for (; r < m; ++r) subtract<1>(g + r * stride, stride, c + r, count, y);
}

template <class Value>
void project(const Rows<Value>& g, const double* x, double* t, int threads) {
    const std::int64_t chunks = ceil_div(g.d, chunk);
    const Scratch memory(most<std::int64_t>(chunks * g.m, 1) * 8, 1);
    auto* partial = reinterpret_cast<double*>(memory.part(0));
    parallel_chunks(chunks, worthwhile_threads(2 * g.m * g.d, threads), [&](std::int64_t part) {
        const std::int64_t from = part * chunk;
        all_dots(g.data + from, g.d, g.m, x + from, least(chunk, g.d - from), partial + part * g.m);
    });
    for (std::int64_t r = 0; r < g.m; ++r) t[r] = 0;
    for (std::int64_t part = 0; part < chunks; ++part)
        for (std::int64_t r = 0; r < g.m; ++r) t[r] += partial[part * g.m + r];
}

template <class Value>
void combine(const Rows<Value>& g, const double* c, const double* x, double alpha, double* y, int threads) {
    constexpr std::int64_t step = 2048; // y stays in the first-level cache while the rows go by
    parallel_chunks(ceil_div(g.d, step), worthwhile_threads(2 * g.m * g.d, threads), [&](std::int64_t part) {
        const std::int64_t from = part * step, count = least(step, g.d - from);
        for (std::int64_t i = 0; i < count; ++i) y[from + i] = alpha * x[from + i];
        subtract_all(g.data + from, g.d, g.m, c, count, y + from);
    });
}

// Upper factor of a positive definite matrix, in place; the strictly lower part is left alone.
inline bool cholesky(double* a, std::int64_t m) {
    for (std::int64_t k = 0; k < m; ++k) {
        double* row = a + k * m;
        if (!(row[k] > 0)) return false;
        const double pivot = std::sqrt(row[k]);
        for (std::int64_t i = k; i < m; ++i) row[i] /= pivot;
        for (std::int64_t i = k + 1; i < m; ++i) subtract<1>(row + i, m, row + i, m - i, a + i * m + i);
    }
    return true;
}

template <class Value>
bool blocks_factor(const Rows<Value>& g, std::int64_t block, double damp, Value* w, int threads) {
    const std::int64_t m = g.m, blocks = ceil_div(g.d, block);
    threads = worthwhile_threads(g.d * m * m, threads);
    const Scratch memory(8 * (m * m + m * block), threads);
    bool good = true;
    parallel_chunks_by_thread(blocks, threads, [&](std::int64_t part, int thread) {
        const std::int64_t from = part * block, width = least(block, g.d - from);
        auto* gram = reinterpret_cast<double*>(memory.part(thread));
        double* rows = gram + m * m;
        for (std::int64_t r = 0; r < m; ++r)
            for (std::int64_t i = 0; i < width; ++i) rows[r * width + i] = widen(g.data[r * g.d + from + i]);
        for (std::int64_t r = 0; r < m; ++r) {
            all_dots(rows + r * width, width, m - r, rows + r * width, width, gram + r * m + r);
            gram[r * m + r] += static_cast<double>(m) * damp;
        }
        if (!cholesky(gram, m)) {
            __atomic_store_n(&good, false, __ATOMIC_RELAXED);
            return;
        }
        for (std::int64_t r = 0; r < m; ++r) { // row r of U^-T G: the rows before it have been solved
            double* row = rows + r * width;
            for (std::int64_t i = 0; i < width; ++i) row[i] /= gram[r * m + r];
            for (std::int64_t s = r + 1; s < m; ++s)
                subtract<1>(row, width, gram + r * m + s, width, rows + s * width);
        }
        const double scale = 1 / std::sqrt(damp);
        for (std::int64_t r = 0; r < m; ++r)
            for (std::int64_t i = 0; i < width; ++i)
                w[r * g.d + from + i] = static_cast<Value>(rows[r * width + i] * scale);
    });
    return good;
}

template <class Value>
void blocks_multiply(const Rows<Value>& w, std::int64_t block, double damp, const double* x, double* y, int threads) {
    threads = worthwhile_threads(4 * w.m * w.d, threads);
    const Scratch memory(8 * w.m, threads);
    parallel_chunks_by_thread(ceil_div(w.d, block), threads, [&](std::int64_t part, int thread) {
        auto* t = reinterpret_cast<double*>(memory.part(thread));
        const std::int64_t from = part * block, width = least(block, w.d - from);
        all_dots(w.data + from, w.d, w.m, x + from, width, t);
        for (std::int64_t i = 0; i < width; ++i) y[from + i] = x[from + i] / damp;
        subtract_all(w.data + from, w.d, w.m, t, width, y + from);
    });
}

// upper^T upper += sign x x^T for the trailing matrix that starts at row `from`; x is overwritten
inline bool rank_one(double* upper, std::int64_t m, std::int64_t from, double* x, double sign) {
    for (std::int64_t k = from; k < m; ++k) {
        double* row = upper + k * m;
        const double square = row[k] * row[k] + sign * x[k] * x[k];
        if (!(square > 0)) return false;
        const double r = std::sqrt(square), c = r / row[k], s = x[k] / row[k], inverse = 1 / c;
        row[k] = r;
        std::int64_t i = k + 1;
        for (; i + V::width <= m; i += V::width) {
            const auto changed = (V::load(row + i) + V::splat(sign * s) * V::load(x + i)) * V::splat(inverse);
            V::store(x + i, V::splat(c) * V::load(x + i) - V::splat(s) * changed);
            V::store(row + i, changed);
        }
        for (; i < m; ++i) {
            row[i] = (row[i] + sign * s * x[i]) * inverse;
            x[i] = c * x[i] - s * row[i];
        }
    }
    return true;
}

inline bool replace(double* upper, std::int64_t m, std::int64_t r, double* row) {
    const Scratch memory(8 * m, 1);
    auto* old = reinterpret_cast<double*>(memory.part(0));
    for (std::int64_t j = 0; j < r; ++j) {
        double* line = upper + j * m;
        const double value = row[j] / line[j];
        line[r] = value; // before the product: element r is the new row's own square
        subtract<1>(line + j + 1, m, &value, m - j - 1, row + j + 1);
    }
    if (!(row[r] > 0)) return false;
    double* line = upper + r * m;
    const double pivot = std::sqrt(row[r]);
    for (std::int64_t i = r + 1; i < m; ++i) {
        old[i] = line[i];
        line[i] = row[i] /= pivot;
    }
    line[r] = pivot;
    return rank_one(upper, m, r + 1, old, 1.0) && rank_one(upper, m, r + 1, row, -1.0);
}

inline constexpr Table kernels{
    {project<float>, combine<float>},
    {project<double>, combine<double>},
    {project<bfloat16>, combine<bfloat16>},
    {blocks_factor<float>, blocks_multiply<float>},
    {blocks_factor<double>, blocks_multiply<double>},
    replace,
};

} // namespace GOSSAMER_ISA
} // namespace gossamer::fisher
