// The one template of the family; each <isa>.cpp includes it and exports its table.
#include "../dispatch/dense.hpp"
#include "../dispatch/exponential.hpp"
#include "../dispatch/parallel.hpp"
#include "../dispatch/scratch.hpp"
#include "tensor_attention.hpp"

#include <cmath>
#include <limits>

namespace gossamer::tensor_attention {
inline namespace GOSSAMER_ISA {

inline constexpr std::int64_t block_rows = 24; // first tokens of the pairs that are worked on at once

template <class Real>
inline constexpr std::int64_t block_columns = 1024 / sizeof(Real); // and second tokens

template <class Real>
inline constexpr Real minus_infinity = -std::numeric_limits<Real>::infinity();

template <class Real>
std::int64_t padded(std::int64_t width) { // whole vectors for the products that have few columns
    constexpr std::int64_t lanes = 64 / sizeof(Real);
    return width <= lanes / 2 ? round_up(width, 4) : round_up(width, lanes);
}

// The second tokens of one batch as the products read them: rows padded to whole vectors, and blocks of columns.
template <class Real>
struct Packed {
    std::int64_t n, width, wide;
    Real *rows, *columns;

    static std::int64_t numbers(std::int64_t n, std::int64_t width) { return n * (width + padded<Real>(width)); }

    Packed(std::int64_t n_, std::int64_t width_, Real* memory)
        : n(n_), width(width_), wide(padded<Real>(width_)), rows(memory), columns(memory + n_ * wide) {}

    void fill(const Real* from) const {
        for (std::int64_t k = 0; k < n; ++k)
            for (std::int64_t l = 0; l < wide; ++l) rows[k * wide + l] = l < width ? from[k * width + l] : 0;
        for (std::int64_t start = 0; start < n; start += block_columns<Real>) {
            const std::int64_t count = least(block_columns<Real>, n - start);
            for (std::int64_t l = 0; l < width; ++l)
                for (std::int64_t k = 0; k < count; ++k)
                    columns[start * width + l * count + k] = from[(start + k) * width + l];
        }
    }
};

// y[r, l] = x[l] * rows[r, l]
template <class Real>
void scale_rows(const Real* x, const Real* rows, std::int64_t count, std::int64_t width, Real* y) {
    for (std::int64_t r = 0; r < count; ++r)
        for (std::int64_t l = 0; l < width; ++l) y[r * width + l] = x[l] * rows[r * width + l];
}

// y[l, r] = x[l] * rows[r, l]
template <class Real>
void scale_columns(const Real* x, const Real* rows, std::int64_t count, std::int64_t width, Real* y) {
    for (std::int64_t l = 0; l < width; ++l)
        for (std::int64_t r = 0; r < count; ++r) y[l * count + r] = x[l] * rows[r * width + l];
}

template <class Real>
struct Query { // what query i of batch b sees
    std::int64_t rows, columns;
    const std::uint8_t* mask; // (n1, n2) or null

    Query(const Problem<Real>& a, std::int64_t b, std::int64_t i)
        : rows(a.limit1 ? a.limit1[i] : a.n1), columns(a.limit2 ? a.limit2[i] : a.n2),
          mask(a.mask ? a.mask + b * a.mask_stride : nullptr) {}

    // z (count1, count2) becomes -inf where the pair is not seen
    void hide(const Problem<Real>& a, std::int64_t j, std::int64_t count1, std::int64_t k, std::int64_t count2,
              Real* z) const {
        const std::int64_t seen = most<std::int64_t>(0, least(count2, columns - k));
        for (std::int64_t r = 0; r < count1; ++r) {
            if (mask) {
                const std::uint8_t* row = mask + (j + r) * a.n2 + k;
                for (std::int64_t c = 0; c < seen; ++c) z[r * count2 + c] = row[c] ? z[r * count2 + c] : minus_infinity<Real>;
            }
            for (std::int64_t c = seen; c < count2; ++c) z[r * count2 + c] = minus_infinity<Real>;
        }
    }
};

template <class Real>
Real largest(const Real* z, std::int64_t count) {
    using V = simd<Real>;
    auto top = V::splat(minus_infinity<Real>);
    std::int64_t i = 0;
    for (; i + V::width <= count; i += V::width) {
        const auto here = V::load(z + i);
        top = here > top ? here : top;
    }
    Real result = minus_infinity<Real>;
    for (int lane = 0; lane < V::width; ++lane) result = most<Real>(result, top[lane]);
    for (; i < count; ++i) result = most(result, z[i]);
    return result;
}

// z becomes exp(z - top); returns the sum
template <class Real>
Real exponentiate(Real* z, std::int64_t count, Real top) {
    using V = simd<Real>;
    typename V::type sum{};
    std::int64_t i = 0;
    for (; i + V::width <= count; i += V::width) {
        const auto p = exponential<Real>(V::load(z + i) - V::splat(top));
        V::store(z + i, p);
        sum += p;
    }
    Real total = V::sum(sum);
    if (i < count) {
        Real tail[V::width] = {};
        for (std::int64_t k = i; k < count; ++k) tail[k - i] = z[k] - top;
        V::store(tail, exponential<Real>(V::load(tail)));
        for (std::int64_t k = i; k < count; ++k) total += z[k] = tail[k - i];
    }
    return total;
}

// z becomes p = exp(z - lse) and g becomes p (g - delta)
template <class Real>
void differentiate(Real* z, Real* g, std::int64_t count, Real lse, Real delta) {
    using V = simd<Real>;
    std::int64_t i = 0;
    for (; i + V::width <= count; i += V::width) {
        const auto p = exponential<Real>(V::load(z + i) - V::splat(lse));
        V::store(z + i, p);
        V::store(g + i, p * (V::load(g + i) - V::splat(delta)));
    }
    if (i < count) {
        Real tail[V::width] = {};
        for (std::int64_t k = i; k < count; ++k) tail[k - i] = z[k] - lse;
        V::store(tail, exponential<Real>(V::load(tail)));
        for (std::int64_t k = i; k < count; ++k) {
            z[k] = tail[k - i];
            g[k] = z[k] * (g[k] - delta);
        }
    }
}

template <class Real>
struct Forward {
    const Problem<Real>& a;
    Packed<Real> keys, values;
    Real *scaled, *z, *sums; // (rows, d) (rows, columns) (rows, wide)
    double* total;           // (p)

    static std::int64_t bytes(const Problem<Real>& a) {
        return a.p * 8 + block_rows * (a.d + block_columns<Real> + padded<Real>(a.p)) * static_cast<std::int64_t>(sizeof(Real));
    }

    Forward(const Problem<Real>& a_, const Packed<Real>& keys_, const Packed<Real>& values_, std::byte* memory)
        : a(a_), keys(keys_), values(values_), total(reinterpret_cast<double*>(memory)) {
        scaled = reinterpret_cast<Real*>(memory + a.p * 8);
        z = scaled + block_rows * a.d;
        sums = z + block_rows * block_columns<Real>;
    }

    // The maximum so far is subtracted from logits; what was summed before is scaled when it rises.
    void query(std::int64_t b, std::int64_t i, Real* out, Real* lse) const {
        const Query<Real> seen(a, b, i);
        const Real* q = a.q + (b * a.m + i) * a.d;
        Real top = minus_infinity<Real>;
        double sum = 0;
        for (std::int64_t l = 0; l < a.p; ++l) total[l] = 0;
        for (std::int64_t j = 0; j < seen.rows; j += block_rows) {
            const std::int64_t rows = least(block_rows, seen.rows - j);
            const Real* v1 = a.v1 + (b * a.n1 + j) * a.p;
            scale_rows(q, a.k1 + (b * a.n1 + j) * a.d, rows, a.d, scaled);
            for (std::int64_t k = 0; k < seen.columns; k += block_columns<Real>) {
                const std::int64_t count = least(block_columns<Real>, a.n2 - k);
                panel_times_matrix(scaled, a.d, rows, a.d, keys.columns + k * a.d, count, z, false);
                if (seen.mask || k + count > seen.columns) seen.hide(a, j, rows, k, count, z);
                const Real here = largest(z, rows * count);
                if (here == minus_infinity<Real>) continue;
                if (here > top) {
                    const double factor = std::exp(static_cast<double>(top) - static_cast<double>(here));
                    sum *= factor;
                    for (std::int64_t l = 0; l < a.p; ++l) total[l] *= factor;
                    top = here;
                }
                sum += static_cast<double>(exponentiate(z, rows * count, top));
                panel_times_matrix(z, count, rows, count, values.rows + k * values.wide, values.wide, sums, false);
                for (std::int64_t r = 0; r < rows; ++r)
                    for (std::int64_t l = 0; l < a.p; ++l)
                        total[l] += static_cast<double>(v1[r * a.p + l] * sums[r * values.wide + l]);
            }
        }
        const bool any = sum > 0;
        for (std::int64_t l = 0; l < a.p; ++l) out[l] = any ? static_cast<Real>(total[l] / sum) : 0;
        *lse = any ? static_cast<Real>(static_cast<double>(top) + std::log(sum)) : minus_infinity<Real>;
    }
};

// Both packed forms of keys and values of every batch.
template <class Real>
class Pairs {
public:
    Pairs(const Problem<Real>& a, int threads)
        : a_(a), stride_(Packed<Real>::numbers(a.n2, a.d) + Packed<Real>::numbers(a.n2, a.p)),
          memory_(most<std::int64_t>(a.batch * stride_, 1) * static_cast<std::int64_t>(sizeof(Real)), 1) {
        parallel_chunks(a.batch, threads, [&](std::int64_t b) {
            keys(b).fill(a.k2 + b * a.n2 * a.d);
            values(b).fill(a.v2 + b * a.n2 * a.p);
        });
    }
    Packed<Real> keys(std::int64_t b) const { return {a_.n2, a_.d, base(b)}; }
    Packed<Real> values(std::int64_t b) const { return {a_.n2, a_.p, base(b) + Packed<Real>::numbers(a_.n2, a_.d)}; }

private:
    Real* base(std::int64_t b) const { return reinterpret_cast<Real*>(memory_.part(0)) + b * stride_; }

    const Problem<Real>& a_;
    std::int64_t stride_;
    Scratch memory_;
};

template <class Real>
std::int64_t work(const Problem<Real>& a) { return a.batch * a.m * a.n1 * a.n2 * (2 * a.d + 2 * a.p + 10); }

template <class Real>
void forward(const Problem<Real>& a, Real* out, Real* lse, int threads) {
    constexpr std::int64_t queries = 4; // a task
    threads = worthwhile_threads(work(a), threads);
    const Pairs<Real> pairs(a, threads);
    const Scratch memory(Forward<Real>::bytes(a), threads);
    const std::int64_t parts = ceil_div(a.m, queries);
    parallel_chunks_by_thread(a.batch * parts, threads, [&](std::int64_t task, int thread) {
        const std::int64_t b = task / parts, from = task % parts * queries;
        const Forward<Real> run(a, pairs.keys(b), pairs.values(b), memory.part(thread));
        for (std::int64_t i = from; i < least(a.m, from + queries); ++i)
            run.query(b, i, out + (b * a.m + i) * a.p, lse + b * a.m + i);
    });
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::tensor_attention

#include "backward.inl"

namespace gossamer::tensor_attention {
inline namespace GOSSAMER_ISA {

template <class Real>
inline constexpr Entries<Real> entries{forward<Real>, backward<Real>};

inline constexpr Table kernels{entries<float>, entries<double>};

} // namespace GOSSAMER_ISA
} // namespace gossamer::tensor_attention
