// Gradients by recomputation: the pairs of a block once more, from the logarithms of the sums.
#pragma once

namespace gossamer::tensor_attention {
inline namespace GOSSAMER_ISA {

// Sums over the queries of one run.
template <class Real>
struct Sums {
    Real *k1, *v1, *k2, *v2; // (n1, d) (n1, p), and in blocks of columns (d, n2) (p, n2)

    static std::int64_t numbers(const Problem<Real>& a) { return (a.n1 + a.n2) * (a.d + a.p); }

    Sums(const Problem<Real>& a, Real* memory)
        : k1(memory), v1(k1 + a.n1 * a.d), k2(v1 + a.n1 * a.p), v2(k2 + a.n2 * a.d) {}
};

template <class Real>
struct Backward {
    const Problem<Real>& a;
    Packed<Real> keys, values;
    double* dq;
    Real *scaled, *turned, *mixed, *mixed_turned; // Q o K1 and its transpose, dO o V1 and its transpose
    Real *z, *g, *key_sums, *value_sums;

    static std::int64_t bytes(const Problem<Real>& a) {
        const std::int64_t numbers = 2 * (a.d + a.p) + 2 * block_columns<Real> + padded<Real>(a.d) + padded<Real>(a.p);
        return a.d * 8 + block_rows * numbers * static_cast<std::int64_t>(sizeof(Real));
    }

    Backward(const Problem<Real>& a_, const Packed<Real>& keys_, const Packed<Real>& values_, std::byte* memory)
        : a(a_), keys(keys_), values(values_), dq(reinterpret_cast<double*>(memory)) {
        scaled = reinterpret_cast<Real*>(memory + a.d * 8);
        turned = scaled + block_rows * a.d;
        mixed = turned + block_rows * a.d;
        mixed_turned = mixed + block_rows * a.p;
        z = mixed_turned + block_rows * a.p;
        g = z + block_rows * block_columns<Real>;
        key_sums = g + block_rows * block_columns<Real>;
        value_sums = key_sums + block_rows * keys.wide;
    }

    void query(std::int64_t b, std::int64_t i, Real lse, const Real* dout, Real delta, const Sums<Real>& to,
               Real* slope) const {
        const Query<Real> seen(a, b, i);
        const Real* q = a.q + (b * a.m + i) * a.d;
        for (std::int64_t l = 0; l < a.d; ++l) dq[l] = 0;
        const std::int64_t last = lse == minus_infinity<Real> ? 0 : seen.rows;
        for (std::int64_t j = 0; j < last; j += block_rows) {
            const std::int64_t rows = least(block_rows, last - j);
            const Real* k1 = a.k1 + (b * a.n1 + j) * a.d;
            const Real* v1 = a.v1 + (b * a.n1 + j) * a.p;
            scale_rows(q, k1, rows, a.d, scaled);
            scale_columns(q, k1, rows, a.d, turned);
            scale_rows(dout, v1, rows, a.p, mixed);
            scale_columns(dout, v1, rows, a.p, mixed_turned);
            for (std::int64_t k = 0; k < seen.columns; k += block_columns<Real>)
                block(seen, j, rows, k, least(block_columns<Real>, a.n2 - k), lse, delta, to);
            for (std::int64_t r = 0; r < rows; ++r) {
                for (std::int64_t l = 0; l < a.d; ++l) {
                    const Real sum = key_sums[r * keys.wide + l];
                    dq[l] += static_cast<double>(k1[r * a.d + l] * sum);
                    to.k1[(j + r) * a.d + l] += q[l] * sum;
                }
                for (std::int64_t l = 0; l < a.p; ++l)
                    to.v1[(j + r) * a.p + l] += dout[l] * value_sums[r * values.wide + l];
            }
        }
        for (std::int64_t l = 0; l < a.d; ++l) slope[l] = static_cast<Real>(dq[l]);
    }

    void block(const Query<Real>& seen, std::int64_t j, std::int64_t rows, std::int64_t k, std::int64_t count, Real lse,
               Real delta, const Sums<Real>& to) const {
        panel_times_matrix(scaled, a.d, rows, a.d, keys.columns + k * a.d, count, z, false);
        panel_times_matrix(mixed, a.p, rows, a.p, values.columns + k * a.p, count, g, false);
        if (seen.mask || k + count > seen.columns) seen.hide(a, j, rows, k, count, z);
        differentiate(z, g, rows * count, lse, delta);
        panel_times_matrix(g, count, rows, count, keys.rows + k * keys.wide, keys.wide, key_sums, k > 0);
        panel_times_matrix(z, count, rows, count, values.rows + k * values.wide, values.wide, value_sums, k > 0);
        panel_times_matrix(turned, rows, a.d, rows, g, count, to.k2 + k * a.d, true);
        panel_times_matrix(mixed_turned, rows, a.p, rows, z, count, to.v2 + k * a.p, true);
    }
};

// to (n, width) = the sum over runs of blocks of columns (width, n)
template <class Real>
void add_columns(const Real* from, std::int64_t runs, std::int64_t stride, std::int64_t n, std::int64_t width, Real* to) {
    for (std::int64_t start = 0; start < n; start += block_columns<Real>) {
        const std::int64_t count = least(block_columns<Real>, n - start);
        for (std::int64_t k = 0; k < count; ++k)
            for (std::int64_t l = 0; l < width; ++l) {
                Real sum = 0;
                for (std::int64_t run = 0; run < runs; ++run) sum += from[run * stride + start * width + l * count + k];
                to[(start + k) * width + l] = sum;
            }
    }
}

template <class Real>
void add_rows(const Real* from, std::int64_t runs, std::int64_t stride, std::int64_t numbers, Real* to) {
    for (std::int64_t i = 0; i < numbers; ++i) {
        Real sum = 0;
        for (std::int64_t run = 0; run < runs; ++run) sum += from[run * stride + i];
        to[i] = sum;
    }
}

template <class Real>
void backward(const Problem<Real>& a, const Real* lse, const Real* dout, const Real* delta, const Slopes<Real>& slopes,
              int threads) {
    threads = worthwhile_threads(3 * work(a), threads);
    const Pairs<Real> pairs(a, threads);
    const Scratch memory(Backward<Real>::bytes(a), threads);
    // Runs of queries have sums of their own; how many there are knows nothing of threads.
    const std::int64_t numbers = Sums<Real>::numbers(a), size = sizeof(Real);
    const std::int64_t room = (std::int64_t{256} << 20) / most<std::int64_t>(a.batch * numbers * size, 1);
    const std::int64_t wanted = least(least(a.m, room), ceil_div(16, most<std::int64_t>(a.batch, 1)));
    const std::int64_t runs = most<std::int64_t>(1, wanted), queries = ceil_div(a.m, runs);
    const Scratch partial(most<std::int64_t>(a.batch * runs * numbers, 1) * size, 1);
    auto* sums = reinterpret_cast<Real*>(partial.part(0));
    parallel_chunks_by_thread(a.batch * runs, threads, [&](std::int64_t task, int thread) {
        const std::int64_t b = task / runs, from = task % runs * queries;
        const Backward<Real> run(a, pairs.keys(b), pairs.values(b), memory.part(thread));
        Real* own = sums + task * numbers;
        for (std::int64_t i = 0; i < numbers; ++i) own[i] = 0;
        for (std::int64_t i = from; i < least(a.m, from + queries); ++i)
            run.query(b, i, lse[b * a.m + i], dout + (b * a.m + i) * a.p, delta[b * a.m + i], Sums<Real>(a, own),
                      slopes.q + (b * a.m + i) * a.d);
    });
    parallel_chunks(a.batch, threads, [&](std::int64_t b) {
        const Sums<Real> from(a, sums + b * runs * numbers);
        add_rows(from.k1, runs, numbers, a.n1 * a.d, slopes.k1 + b * a.n1 * a.d);
        add_rows(from.v1, runs, numbers, a.n1 * a.p, slopes.v1 + b * a.n1 * a.p);
        add_columns(from.k2, runs, numbers, a.n2, a.d, slopes.k2 + b * a.n2 * a.d);
        add_columns(from.v2, runs, numbers, a.n2, a.p, slopes.v2 + b * a.n2 * a.p);
    });
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::tensor_attention
