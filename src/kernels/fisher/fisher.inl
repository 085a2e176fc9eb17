// The one template of the family; each <isa>.cpp includes it and exports its table.
#include "../dispatch/parallel.hpp"
#include "../dispatch/scratch.hpp"
#include "fisher.hpp"
#include "loads.inl"

#include <cmath>

namespace gossamer::fisher {
inline namespace GOSSAMER_ISA {

inline constexpr std::int64_t chunk = 4096; // columns: x in float64 stays in the first-level cache

// t[r] = G[r, :count] x for Count neighbouring rows
template <int Count, class Value, class Vector>
GOSSAMER_INLINE void dots(const Value* g, std::int64_t stride, const Vector* x, std::int64_t count, double* t) {
    typename V::type sums[Count][2] = {};
    std::int64_t i = 0;
    for (; i + 2 * V::width <= count; i += 2 * V::width) {
        const auto x0 = load_wide(x + i), x1 = load_wide(x + i + V::width);
        for (int r = 0; r < Count; ++r) {
            sums[r][0] += load_wide(g + r * stride + i) * x0;
            sums[r][1] += load_wide(g + r * stride + i + V::width) * x1;
        }
    }
    for (int r = 0; r < Count; ++r) {
        double tail = 0;
        for (std::int64_t k = i; k < count; ++k) tail += widen(g[r * stride + k]) * widen(x[k]);
        t[r] = V::sum(sums[r][0] + sums[r][1]) + tail;
    }
}

// bfloat16 rows and float32 vectors have a faster path: short runs are summed in float32, the runs in float64.
inline constexpr std::int64_t run = 8; // products that one lane sums in float32

template <int Count>
GOSSAMER_INLINE void dots(const bfloat16* g, std::int64_t stride, const float* x, std::int64_t count, double* t) {
    typename V::type sums[Count] = {};
    std::int64_t i = 0;
    for (; i + run * W::width <= count; i += run * W::width) {
        typename W::type part[Count] = {};
        for (std::int64_t k = 0; k < run; ++k) {
            const auto here = W::load(x + i + k * W::width);
            for (int r = 0; r < Count; ++r) part[r] += load_floats(g + r * stride + i + k * W::width) * here;
        }
        for (int r = 0; r < Count; ++r) sums[r] += widen_half<0>(part[r]) + widen_half<1>(part[r]);
    }
    for (int r = 0; r < Count; ++r) {
        double tail = 0;
        for (std::int64_t k = i; k < count; ++k) tail += widen(g[r * stride + k]) * widen(x[k]);
        t[r] = V::sum(sums[r]) + tail;
    }
}

template <class Value, class Vector>
void all_dots(const Value* g, std::int64_t stride, std::int64_t m, const Vector* x, std::int64_t count, double* t) {
    std::int64_t r = 0;
    for (; r + 4 <= m; r += 4) dots<4>(g + r * stride, stride, x, count, t + r);
    for (; r < m; ++r) dots<1>(g + r * stride, stride, x, count, t + r);
}

// y[:count] -= sum_r c[r] G[r, :count] for Count neighbouring rows
template <int Count, class Value>
GOSSAMER_INLINE void subtract(const Value* g, std::int64_t stride, const double* c, std::int64_t count, double* y) {
    constexpr int w = V::width;
    std::int64_t i = 0;
    for (; i + 2 * w <= count; i += 2 * w) { // two sums at once: one alone would wait for its last product
        auto first = V::load(y + i), second = V::load(y + i + w);
        for (int r = 0; r < Count; ++r) {
            first -= load_wide(g + r * stride + i) * V::splat(c[r]);
            second -= load_wide(g + r * stride + i + w) * V::splat(c[r]);
        }
        V::store(y + i, first);
        V::store(y + i + w, second);
    }
    for (; i + w <= count; i += w) {
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

inline void subtract_floats(const bfloat16* g, std::int64_t stride, std::int64_t m, const double* c,
                            std::int64_t count, double* y) {
    std::int64_t r = 0;
    for (; r + run <= m; r += run) {
        float weights[run];
        for (std::int64_t k = 0; k < run; ++k) weights[k] = static_cast<float>(c[r + k]);
        std::int64_t i = 0;
        for (; i + W::width <= count; i += W::width) {
            W::type sum{};
            for (std::int64_t k = 0; k < run; ++k)
                sum += load_floats(g + (r + k) * stride + i) * W::splat(weights[k]);
            V::store(y + i, V::load(y + i) - widen_half<0>(sum));
            V::store(y + i + V::width, V::load(y + i + V::width) - widen_half<1>(sum));
        }
        for (; i < count; ++i)
            for (std::int64_t k = 0; k < run; ++k) y[i] -= widen(g[(r + k) * stride + i]) * c[r + k];
    }
    for (; r < m; ++r) subtract<1>(g + r * stride, stride, c + r, count, y);
}

template <class Value, class Vector>
void project(const Rows<Value>& g, const Vector* x, double* t, int threads) {
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

template <class Value, class Vector>
void combine(const Rows<Value>& g, const double* c, const Vector* x, double alpha, Vector* y, int threads) {
    constexpr std::int64_t step = 2048; // sums stay in the first-level cache while the rows go by
    const std::int64_t parts = ceil_div(g.d, step);
    parallel_chunks(parts, worthwhile_threads(2 * g.m * g.d, threads), [&](std::int64_t part) {
        // from the end: what project, which came before, read last is still in a cache
        const std::int64_t from = (parts - 1 - part) * step, count = least(step, g.d - from);
        alignas(64) double sums[step];
        for (std::int64_t i = 0; i < count; ++i) sums[i] = alpha * widen(x[from + i]);
        if constexpr (sizeof(Value) == 2 && sizeof(Vector) == 4)
            subtract_floats(g.data + from, g.d, g.m, c, count, sums);
        else
            subtract_all(g.data + from, g.d, g.m, c, count, sums);
        for (std::int64_t i = 0; i < count; ++i) y[from + i] = static_cast<Vector>(sums[i]);
    });
}

typedef std::uint32_t bits_of_floats __attribute__((vector_size(W::width * 4)));
typedef std::uint16_t upper_halves __attribute__((vector_size(W::width * 2)));

inline bits_of_floats load_bits(const float* g, std::int64_t count) { // zeros after the end
    bits_of_floats bits{};
    if (count >= W::width)
        std::memcpy(&bits, g, sizeof bits);
    else
        std::memcpy(&bits, g, static_cast<std::size_t>(count) * 4);
    return bits;
}

inline bool finite_part(const float* g, std::int64_t count) {
    typename simd_of<std::int32_t, vector_bytes>::type bad{}; // an exponent of ones only: an infinity or NaN
    for (std::int64_t i = 0; i < count; i += W::width)
        bad |= (load_bits(g + i, count - i) & 0x7f800000u) == 0x7f800000u;
    std::int32_t any = 0;
    for (int i = 0; i < W::width; ++i) any |= bad[i];
    return any == 0;
}

inline bool finite(const float* g, std::int64_t count, int threads) {
    bool good = true;
    parallel_chunks(ceil_div(count, chunk), threads, [&](std::int64_t part) {
        if (!finite_part(g + part * chunk, least(chunk, count - part * chunk)))
            __atomic_store_n(&good, false, __ATOMIC_RELAXED);
    });
    return good;
}

inline void round_part(const float* g, std::int64_t count, bfloat16* row, float* held) {
    for (std::int64_t i = 0; i < count; i += W::width) {
        const auto here = static_cast<std::size_t>(least<std::int64_t>(W::width, count - i));
        bits_of_floats bits = load_bits(g + i, count - i);
        bits = (bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u;
        const upper_halves halves = __builtin_convertvector(bits >> 16, upper_halves);
        if (here == W::width) {
            std::memcpy(row + i, &halves, sizeof halves);
            std::memcpy(held + i, &bits, sizeof bits);
        } else {
            std::memcpy(row + i, &halves, here * 2);
            std::memcpy(held + i, &bits, here * 4);
        }
    }
}

// g rounded to nearest even into the row, and what the row then holds; false, with nothing written, unless finite
inline bool round_row(const float* g, std::int64_t count, bfloat16* row, float* held, int threads) {
    threads = worthwhile_threads(4 * count, threads);
    if (!finite(g, count, threads)) return false;
    parallel_chunks(ceil_div(count, chunk), threads, [&](std::int64_t part) {
        const std::int64_t from = part * chunk;
        round_part(g + from, least(chunk, count - from), row + from, held + from);
    });
    return true;
}

inline bool copy_row(const float* g, std::int64_t count, float* row, int threads) {
    threads = worthwhile_threads(4 * count, threads);
    if (!finite(g, count, threads)) return false;
    parallel_chunks(ceil_div(count, chunk), threads, [&](std::int64_t part) {
        const std::int64_t from = part * chunk;
        std::memcpy(row + from, g + from, static_cast<std::size_t>(least(chunk, count - from)) * 4);
    });
    return true;
}

// W[:, a] . W[:, b]: every number is a cache line of its own, so all are asked for before the first is used
template <class Value>
double columns_dot(const Rows<Value>& w, std::int64_t a, std::int64_t b) {
    constexpr std::int64_t ahead = 32;
    const Value *left = w.data + a, *right = w.data + b;
    for (std::int64_t r = 0; r < least(ahead, w.m); ++r) {
        __builtin_prefetch(left + r * w.d);
        __builtin_prefetch(right + r * w.d);
    }
    double sum = 0;
    for (std::int64_t r = 0; r < w.m; ++r) {
        if (r + ahead < w.m) {
            __builtin_prefetch(left + (r + ahead) * w.d);
            __builtin_prefetch(right + (r + ahead) * w.d);
        }
        sum += widen(left[r * w.d]) * widen(right[r * w.d]);
    }
    return sum;
}

// K = G G^T. A part is widened a few columns at a time, which stay in the second-level cache for all pairs of rows.
template <class Value>
void gram(const Rows<Value>& g, double* out, int threads) {
    constexpr std::int64_t part_columns = 65536; // callers that hold G in blocks of this width get the same bits
    const std::int64_t m = g.m, parts = ceil_div(g.d, part_columns);
    const std::int64_t step = most<std::int64_t>(64, least<std::int64_t>(1024, 32768 / most<std::int64_t>(m, 1)));
    threads = worthwhile_threads(g.d * m * m, threads);
    const Scratch sums(8 * most<std::int64_t>(parts * m * m, 1), 1), memory(8 * (m + m * step), threads);
    auto* partial = reinterpret_cast<double*>(sums.part(0));
    parallel_chunks_by_thread(parts, threads, [&](std::int64_t part, int thread) {
        double *own = partial + part * m * m, *t = reinterpret_cast<double*>(memory.part(thread)), *rows = t + m;
        for (std::int64_t i = 0; i < m * m; ++i) own[i] = 0;
        const std::int64_t end = least(g.d, (part + 1) * part_columns);
        for (std::int64_t from = part * part_columns; from < end; from += step) {
            const std::int64_t width = least(step, end - from);
            for (std::int64_t r = 0; r < m; ++r) {
                const Value* source = g.data + r * g.d + from;
                std::int64_t i = 0;
                for (; i + V::width <= width; i += V::width) V::store(rows + r * width + i, load_wide(source + i));
                for (; i < width; ++i) rows[r * width + i] = widen(source[i]);
            }
            for (std::int64_t r = 0; r < m; ++r) {
                all_dots(rows + r * width, width, m - r, rows + r * width, width, t);
                for (std::int64_t s = r; s < m; ++s) own[r * m + s] += t[s - r];
            }
        }
    });
    for (std::int64_t r = 0; r < m; ++r)
        for (std::int64_t s = r; s < m; ++s) {
            double sum = 0;
            for (std::int64_t part = 0; part < parts; ++part) sum += partial[(part * m + r) * m + s];
            out[r * m + s] = out[s * m + r] = sum;
        }
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

// t becomes K^-1 t
inline void solve(const double* upper, std::int64_t m, double* t) {
    for (std::int64_t k = 0; k < m; ++k) {
        t[k] /= upper[k * m + k];
        subtract<1>(upper + k * m + k + 1, m, t + k, m - k - 1, t + k + 1);
    }
    for (std::int64_t k = m - 1; k >= 0; --k) {
        double rest;
        dots<1>(upper + k * m + k + 1, m, t + k + 1, m - k - 1, &rest);
        t[k] = (t[k] - rest) / upper[k * m + k];
    }
}

template <class Value>
inline constexpr Passes<Value> passes{project<Value, float>, project<Value, double>, combine<Value, float>,
                                      combine<Value, double>};
template <class Value>
inline constexpr Blocks<Value> blocks{blocks_factor<Value>, blocks_multiply<Value>, columns_dot<Value>, gram<Value>};

inline constexpr Table kernels{passes<float>, passes<double>, passes<bfloat16>, blocks<float>, blocks<double>,
                               replace,       solve,          copy_row,         round_row};

} // namespace GOSSAMER_ISA
} // namespace gossamer::fisher
