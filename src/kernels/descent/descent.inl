// The one template of the family; each <isa>.cpp includes it and exports its table.
#include "../dispatch/parallel.hpp"
#include "../dispatch/scratch.hpp"
#include "descent.hpp"

namespace gossamer::descent {
inline namespace GOSSAMER_ISA {

template <class Value, class Index>
double dot(const Lines<Value, Index>& a, std::int64_t line, const double* w) {
    double sums[4] = {};
    std::int64_t i = a.start[line];
    const std::int64_t end = a.start[line + 1];
    for (; i + 4 <= end; i += 4)
        for (int k = 0; k < 4; ++k) sums[k] += static_cast<double>(a.value[i + k]) * w[a.index[i + k]];
    for (; i < end; ++i) sums[0] += static_cast<double>(a.value[i]) * w[a.index[i]];
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

template <class Value, class Index>
void dots(const Lines<Value, Index>& a, Chosen b, const double* w, double* out, int threads) {
    constexpr std::int64_t step = 256;
    const std::int64_t stored = a.lines ? static_cast<std::int64_t>(a.start[a.lines]) / a.lines : 0;
    parallel_chunks(ceil_div(b.count, step), worthwhile_threads(2 * stored * b.count, threads), [&](std::int64_t chunk) {
        const std::int64_t last = least(b.count, (chunk + 1) * step);
        for (std::int64_t k = chunk * step; k < last; ++k) out[k] = dot(a, b[k], w);
    });
}

template <class Value, class Index>
void scatter(const Lines<Value, Index>& a, Chosen b, const double* d, double* z) {
    for (std::int64_t k = 0; k < b.count; ++k) {
        const double factor = d[k];
        if (factor == 0) continue;
        const std::int64_t line = b[k], end = a.start[line + 1];
        for (std::int64_t i = a.start[line]; i < end; ++i) z[a.index[i]] += factor * static_cast<double>(a.value[i]);
    }
}

inline void zero(double* to, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) to[i] = 0;
}

// Column k spread over a dense vector, then a dot with each column from k on.
template <class Value, class Index>
void gram_by_columns(const Lines<Value, Index>& a, Chosen b, const double* weight, double* out, int threads) {
    const Scratch scratch(a.width * static_cast<std::int64_t>(sizeof(double)), threads);
    for (int thread = 0; thread < threads; ++thread) zero(reinterpret_cast<double*>(scratch.part(thread)), a.width);
    parallel_chunks_by_thread(b.count, threads, [&](std::int64_t k, int thread) {
        auto* wide = reinterpret_cast<double*>(scratch.part(thread));
        const std::int64_t line = b[k], end = a.start[line + 1];
        for (std::int64_t i = a.start[line]; i < end; ++i) {
            const std::int64_t r = a.index[i];
            wide[r] = static_cast<double>(a.value[i]) * (weight ? weight[r] : 1.0);
        }
        for (std::int64_t l = k; l < b.count; ++l) out[k * b.count + l] = out[l * b.count + k] = dot(a, b[l], wide);
        for (std::int64_t i = a.start[line]; i < end; ++i) wide[a.index[i]] = 0;
    });
}

// The block by rows, then outer products of rows: less work where the block is wide and its rows are short.
template <class Value, class Index>
void gram_by_rows(const Lines<Value, Index>& a, Chosen b, std::int64_t stored, const double* weight, double* out) {
    const std::int64_t word = sizeof(std::int64_t);
    const Scratch scratch((a.width + 1 + 2 * stored) * word, 1);
    auto* from = reinterpret_cast<std::int64_t*>(scratch.part(0));
    auto* column = from + a.width + 1;
    auto* value = reinterpret_cast<double*>(column + stored);
    for (std::int64_t r = 0; r <= a.width; ++r) from[r] = 0;
    for (std::int64_t k = 0; k < b.count; ++k)
        for (std::int64_t i = a.start[b[k]]; i < a.start[b[k] + 1]; ++i) ++from[a.index[i] + 1];
    for (std::int64_t r = 0; r < a.width; ++r) from[r + 1] += from[r];
    for (std::int64_t k = b.count; k-- > 0;) // backwards, each row filled from its end: then `from` is right again
        for (std::int64_t i = a.start[b[k]]; i < a.start[b[k] + 1]; ++i) {
            const std::int64_t place = --from[a.index[i] + 1];
            column[place] = k;
            value[place] = static_cast<double>(a.value[i]);
        }
    zero(out, b.count * b.count);
    for (std::int64_t r = 0; r < a.width; ++r) {
        const std::int64_t first = from[r + 1], last = r + 1 < a.width ? from[r + 2] : stored;
        for (std::int64_t p = first; p < last; ++p) {
            const double factor = value[p] * (weight ? weight[r] : 1.0);
            double* row = out + column[p] * b.count;
            for (std::int64_t q = p; q < last; ++q) row[column[q]] += factor * value[q];
        }
    }
    for (std::int64_t k = 0; k < b.count; ++k)
        for (std::int64_t l = 0; l < k; ++l) out[k * b.count + l] = out[l * b.count + k];
}

template <class Value, class Index>
void gram(const Lines<Value, Index>& a, Chosen b, const double* weight, double* out, int threads) {
    std::int64_t stored = 0;
    for (std::int64_t k = 0; k < b.count; ++k) stored += a.start[b[k] + 1] - a.start[b[k]];
    const double by_columns = 0.5 * static_cast<double>(stored) * static_cast<double>(b.count);
    const double row = static_cast<double>(stored) / static_cast<double>(most<std::int64_t>(a.width, 1));
    if (static_cast<double>(a.width) + static_cast<double>(stored) * (4 + row) < by_columns)
        return gram_by_rows(a, b, stored, weight, out);
    gram_by_columns(a, b, weight, out, worthwhile_threads(static_cast<std::int64_t>(by_columns), threads));
}

template <class Value, class Index>
void row_sums(const Lines<Value, Index>& a, const Lines<Value, Index>& rows, Chosen b, double* out, int threads) {
    const Scratch scratch(a.lines * static_cast<std::int64_t>(sizeof(double)), threads);
    parallel_chunks_by_thread(b.count, threads, [&](std::int64_t k, int thread) {
        auto* wide = reinterpret_cast<double*>(scratch.part(thread));
        zero(wide, a.lines);
        for (std::int64_t i = a.start[b[k]]; i < a.start[b[k] + 1]; ++i) {
            const std::int64_t r = a.index[i];
            const double factor = static_cast<double>(a.value[i]);
            for (std::int64_t j = rows.start[r]; j < rows.start[r + 1]; ++j)
                wide[rows.index[j]] += factor * static_cast<double>(rows.value[j]);
        }
        double sum = 0;
        for (std::int64_t j = 0; j < a.lines; ++j) sum += wide[j] < 0 ? -wide[j] : wide[j];
        out[k] = sum;
    });
}

inline std::int64_t coordinates(const Quadratic& q, double* x, double* gradient, std::int64_t sweeps, double tol) {
    for (std::int64_t sweep = 0; sweep < sweeps; ++sweep) {
        double largest = 0;
        for (std::int64_t i = 0; i < q.size; ++i) {
            const double* row = q.hessian + i * q.size;
            const double curvature = row[i];
            if (!(curvature > 0)) continue;
            const double step = x[i] - gradient[i] / curvature, cut = q.lam[i] / curvature;
            double next = step > cut ? step - cut : step < -cut ? step + cut : 0;
            next = least(most(next, q.low[i]), q.high[i]);
            const double delta = next - x[i];
            if (delta == 0) continue;
            x[i] = next;
            for (std::int64_t j = 0; j < q.size; ++j) gradient[j] += delta * row[j];
            largest = most(largest, (delta < 0 ? -delta : delta) * curvature);
        }
        if (largest <= tol) return sweep + 1;
    }
    return sweeps;
}

template <class Value, class Index>
inline constexpr Entries<Value, Index> entries{dots<Value, Index>, scatter<Value, Index>, gram<Value, Index>,
                                               row_sums<Value, Index>};

inline constexpr Table kernels{entries<float, std::int32_t>, entries<float, std::int64_t>,
                               entries<double, std::int32_t>, entries<double, std::int64_t>, coordinates};

} // namespace GOSSAMER_ISA
} // namespace gossamer::descent
