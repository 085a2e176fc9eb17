// The one template of the family; each <isa>.cpp includes it and exports its table.
#include "../dispatch/parallel.hpp"
#include "../dispatch/scratch.hpp"
#include "completion.hpp"
#include "factor.inl"

namespace gossamer::completion {
inline namespace GOSSAMER_ISA {

inline constexpr std::int64_t panel = 128;  // rows that a Gram matrix or reflections take at once
inline constexpr int copies = 4;            // nonzeros a row of a sketch, each in a quarter of its own

// [u_i, value, 0 ..] for entries [from, to) of a line
template <class Real, class Index>
void gather(const Observed<Real, Index>& a, const Problem<Real>& p, std::int64_t from, std::int64_t to,
            std::int64_t stride, Real* rows) {
    constexpr std::int64_t ahead = 8;
    const std::int64_t k = p.rank;
    for (std::int64_t e = from; e < to; ++e, rows += stride) {
        if (e + ahead < to) {
            const Real* next = p.factor + static_cast<std::int64_t>(a.index[e + ahead]) * k;
            for (std::int64_t c = 0; c < k; c += 64 / static_cast<std::int64_t>(sizeof(Real))) __builtin_prefetch(next + c);
        }
        std::memcpy(rows, p.factor + static_cast<std::int64_t>(a.index[e]) * k, static_cast<std::size_t>(k) * sizeof(Real));
        rows[k] = a.value[e];
        for (std::int64_t c = k + 1; c < stride; ++c) rows[c] = 0;
    }
}

// w += sum over Count rows of (row . p) row; with right sides, g += row[k] row
template <int Count, bool Sides, class Real>
GOSSAMER_INLINE void pass_rows(const Real* rows, std::int64_t stride, std::int64_t k, const Real* p, Real* w, Real* g) {
    using V = simd<Real>;
    typename V::type sums[Count] = {};
    for (std::int64_t c = 0; c < stride; c += V::width) {
        const auto here = V::load(p + c);
        for (int q = 0; q < Count; ++q) sums[q] += V::load(rows + q * stride + c) * here;
    }
    typename V::type t[Count], b[Count];
    for (int q = 0; q < Count; ++q) {
        t[q] = V::splat(V::sum(sums[q]));
        if constexpr (Sides) b[q] = V::splat(rows[q * stride + k]);
    }
    for (std::int64_t c = 0; c < stride; c += V::width) {
        auto sum = V::load(w + c);
        for (int q = 0; q < Count; ++q) sum += t[q] * V::load(rows + q * stride + c);
        V::store(w + c, sum);
        if constexpr (Sides) {
            auto side = V::load(g + c);
            for (int q = 0; q < Count; ++q) side += b[q] * V::load(rows + q * stride + c);
            V::store(g + c, side);
        }
    }
}

// w = A^T A p, zero from k on; g = A^T b
template <bool Sides, class Real>
void pass(const Real* rows, std::int64_t count, std::int64_t stride, std::int64_t k, const Real* p, Real* w, Real* g) {
    zero(w, stride);
    if constexpr (Sides) zero(g, stride);
    std::int64_t i = 0;
    for (; i + 8 <= count; i += 8) pass_rows<8, Sides>(rows + i * stride, stride, k, p, w, g);
    for (; i < count; ++i) pass_rows<1, Sides>(rows + i * stride, stride, k, p, w, g);
    zero(w + k, stride - k);
}

// Vectors of conjugate gradients, each of `stride` numbers
template <class Real>
struct Vectors {
    Real *x, *p, *s, *w, *z;
};

inline bool above(double square, double goal) { return square > goal * goal; } // false for NaN

// From x on; returns the steps. R: preconditioner R^T R, or nullptr.
template <class Real>
std::int64_t conjugate(const Real* rows, std::int64_t count, std::int64_t k, std::int64_t stride, double ridge,
                       const Real* R, std::int64_t r_stride, const Options& options, const Vectors<Real>& v) {
    const Real lam = static_cast<Real>(ridge);
    const auto product = [k](const Real* a, const Real* b) { return static_cast<double>(dot(a, b, k)); };
    bool started = false;
    for (std::int64_t c = 0; c < k; ++c) started = started || v.x[c] != 0;
    for (std::int64_t c = 0; c < stride; ++c) v.p[c] = c < k ? -v.x[c] : Real(c == k);
    double side;
    if (started) {
        pass<true>(rows, count, stride, k, v.p, v.s, v.z);
        side = product(v.z, v.z);
        add(-lam, v.x, 0, stride, v.s);
    } else {
        pass<false>(rows, count, stride, k, v.p, v.s, v.z);
        side = product(v.s, v.s);
    }
    double square = product(v.s, v.s);
    const double goal = most(options.rtol * std::sqrt(side), options.reduction * std::sqrt(square));
    double gamma = 0;
    std::int64_t step = 0;
    while (step < options.steps && above(square, goal)) {
        const Real* z = v.s;
        if (R) {
            for (std::int64_t c = 0; c < k; ++c) v.z[c] = v.s[c];
            solve_lower(R, k, r_stride, v.z);
            solve_upper(R, k, r_stride, v.z);
            z = v.z;
        }
        const double before = gamma;
        gamma = product(v.s, z);
        const Real beta = step ? static_cast<Real>(gamma / before) : Real(0);
        for (std::int64_t c = 0; c < stride; ++c) v.p[c] = c < k ? z[c] + beta * (step ? v.p[c] : Real(0)) : Real(0);
        pass<false>(rows, count, stride, k, v.p, v.w, v.w);
        add(lam, v.p, 0, stride, v.w);
        const double curvature = product(v.p, v.w);
        if (!(curvature > 0)) break;
        const Real length = static_cast<Real>(gamma / curvature);
        add(length, v.p, 0, stride, v.x);
        add(-length, v.w, 0, stride, v.s);
        square = product(v.s, v.s);
        ++step;
    }
    return step;
}

// Murmur's finaliser: bits of a sketch that depend on the entry alone
inline std::uint64_t mix(std::uint64_t h) {
    h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdULL;
    h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53ULL;
    return h ^ (h >> 33);
}

// `copies` signed copies of each row, each added to a row of its quarter of `out` (copies * k rows)
template <class Real>
void sketch(const Real* rows, std::int64_t count, std::int64_t k, std::int64_t stride, std::uint64_t seed, Real* out) {
    zero(out, copies * k * stride);
    for (std::int64_t i = 0; i < count; ++i)
        for (int part = 0; part < copies; ++part) {
            const std::uint64_t h = mix(seed + static_cast<std::uint64_t>(i) * copies + static_cast<std::uint64_t>(part));
            const auto to = part * k + static_cast<std::int64_t>((h >> 1) % static_cast<std::uint64_t>(k));
            add(h & 1 ? Real(0.5) : Real(-0.5), rows + i * stride, 0, stride, out + to * stride);
        }
}

template <class Real, class Index>
double loss_of(const Observed<Real, Index>& a, const Problem<Real>& p, std::int64_t line, const Real* x) {
    double sum = 0;
    for (std::int64_t e = a.start[line]; e < a.start[line + 1]; ++e) {
        const auto r = static_cast<double>(a.value[e] - dot(p.factor + static_cast<std::int64_t>(a.index[e]) * p.rank, x, p.rank));
        sum += r * r;
    }
    return sum;
}

template <class Real>
struct Memory { // of one thread
    Real *rows, *small, *vectors;
};

template <class Real>
void start_triangle(Real* R, std::int64_t k, std::int64_t stride, Real diagonal) {
    zero(R, k * stride);
    for (std::int64_t i = 0; i < k; ++i) R[i * stride + i] = diagonal;
}

// false: rank deficient to working precision
template <class Real, class Index>
bool direct(const Observed<Real, Index>& a, const Problem<Real>& p, Method method, std::int64_t line,
            std::int64_t stride, const Memory<Real>& memory, Real* x) {
    const std::int64_t k = p.rank;
    const Real ridge = static_cast<Real>(p.ridge[line]);
    const bool gram = method == Method::exact;
    start_triangle(memory.small, k, stride, gram ? ridge : std::sqrt(ridge));
    for (std::int64_t from = a.start[line]; from < a.start[line + 1]; from += panel) {
        const std::int64_t to = least(a.start[line + 1], from + panel);
        gather(a, p, from, to, stride, memory.rows);
        if (gram) add_gram(memory.rows, to - from, stride, 0, k, Real(1), memory.small);
        else absorb(memory.small, memory.rows, to - from, k, stride, memory.vectors);
    }
    if (gram ? !cholesky(memory.small, k, stride) : !full_rank(memory.small, k, stride)) return false;
    for (std::int64_t i = 0; i < k; ++i) memory.vectors[i] = memory.small[i * stride + k];
    solve_upper(memory.small, k, stride, memory.vectors);
    std::memcpy(x, memory.vectors, static_cast<std::size_t>(k) * sizeof(Real));
    return true;
}

template <class Real, class Index>
std::int64_t iterative(const Observed<Real, Index>& a, const Problem<Real>& p, const Options& options, std::int64_t line,
                       std::int64_t stride, const Memory<Real>& memory, Real* x) {
    const std::int64_t k = p.rank, from = a.start[line], count = a.start[line + 1] - from;
    gather(a, p, from, from + count, stride, memory.rows);
    Real* at = memory.vectors;
    zero(at, 5 * stride);
    const Vectors<Real> v{at, at + stride, at + 2 * stride, at + 3 * stride, at + 4 * stride};
    const Real* R = p.preconditioner;
    std::int64_t r_stride = k;
    std::memcpy(v.x, x, static_cast<std::size_t>(k) * sizeof(Real));
    if (options.method == Method::sketch) {
        Real* triangle = memory.small;
        Real* sketched = triangle + k * stride;
        start_triangle(triangle, k, stride, static_cast<Real>(std::sqrt(p.ridge[line])));
        const std::int64_t short_rows = copies * k;
        if (count > short_rows) sketch(memory.rows, count, k, stride, options.seed + mix(static_cast<std::uint64_t>(line)), sketched);
        else std::memcpy(sketched, memory.rows, static_cast<std::size_t>(count * stride) * sizeof(Real));
        absorb(triangle, sketched, least(count, short_rows), k, stride, v.w);
        if (!full_rank(triangle, k, stride)) return -1;
        R = triangle;
        r_stride = stride;
        bool started = false;
        for (std::int64_t c = 0; c < k; ++c) started = started || v.x[c] != 0;
        if (!started) { // the solution of the sketched problem is a start
            for (std::int64_t i = 0; i < k; ++i) v.x[i] = triangle[i * stride + k];
            solve_upper(triangle, k, stride, v.x);
        }
    }
    const std::int64_t steps = conjugate(memory.rows, count, k, stride, p.ridge[line], R, r_stride, options, v);
    std::memcpy(x, v.x, static_cast<std::size_t>(k) * sizeof(Real));
    return steps;
}

template <class Real, class Index>
void regress(const Observed<Real, Index>& a, const Problem<Real>& p, const Options& options, const Answer<Real>& answer,
             int threads) {
    constexpr std::int64_t step = 4, size = sizeof(Real);
    const std::int64_t k = p.rank, stride = round_up(k + 1, simd<Real>::width);
    const bool whole = options.method == Method::cg || options.method == Method::sketch;
    std::int64_t longest = 1, entries = 0;
    for (std::int64_t i = 0; i < p.count; ++i) {
        const std::int64_t count = a.start[p.ids[i] + 1] - a.start[p.ids[i]];
        longest = most(longest, count);
        entries += count;
    }
    threads = worthwhile_threads(8 * entries * k, threads);
    const std::int64_t rows = (whole ? longest : least(longest, panel)) * stride;
    const std::int64_t small = options.method == Method::sketch ? (1 + copies) * k * stride : k * stride;
    const Scratch scratch((rows + small + 5 * stride) * size, threads);
    parallel_chunks_by_thread(ceil_div(p.count, step), threads, [&](std::int64_t chunk, int thread) {
        auto* base = reinterpret_cast<Real*>(scratch.part(thread));
        const Memory<Real> memory{base + small, base, base + small + rows};
        for (std::int64_t i = chunk * step; i < least(p.count, (chunk + 1) * step); ++i) {
            const std::int64_t line = p.ids[i];
            Real* x = answer.x + line * k;
            if (whole) answer.steps[line] = iterative(a, p, options, line, stride, memory, x);
            else answer.steps[line] = direct(a, p, options.method, line, stride, memory, x) ? 0 : -1;
            if (answer.loss) answer.loss[line] = loss_of(a, p, line, x);
        }
    });
}

template <class Real, class Index>
void dots(const Real* u, const Real* v, std::int64_t rank, const Index* rows, const Index* columns, std::int64_t count,
          Real* out, int threads) {
    constexpr std::int64_t step = 1024;
    parallel_chunks(ceil_div(count, step), worthwhile_threads(2 * count * rank, threads), [&](std::int64_t chunk) {
        for (std::int64_t e = chunk * step; e < least(count, (chunk + 1) * step); ++e)
            out[e] = dot(u + static_cast<std::int64_t>(rows[e]) * rank, v + static_cast<std::int64_t>(columns[e]) * rank, rank);
    });
}

template <class Real, class Index>
inline constexpr Entry<Real, Index> entry{regress<Real, Index>, dots<Real, Index>};

inline constexpr Table kernels{entry<float, std::int32_t>, entry<float, std::int64_t>, entry<double, std::int32_t>,
                               entry<double, std::int64_t>};

} // namespace GOSSAMER_ISA
} // namespace gossamer::completion
