// Sums of powers. A row of L values is cut into blocks of 64: z^(64 b + j) = z^(64 b) z^j, so that a row is a product of
// two matrices, [blocks, 2 n] x [2 n, 64] in reals. Powers are made in double and rounded once.
#include "../dispatch/parallel.hpp"
#include "../dispatch/scratch.hpp"

namespace gossamer::ssm {
inline namespace GOSSAMER_ISA {

inline constexpr std::int64_t block = 64;
inline constexpr std::int64_t panel = 32;          // blocks whose powers are at hand together
inline constexpr std::int64_t segment = 256;       // blocks of a task
inline constexpr int together = vector_registers == 32 ? 4 : 2; // blocks whose sums stay in registers

struct Complex {
    double re, im;
};

GOSSAMER_INLINE Complex operator*(Complex a, Complex b) {
    return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

inline Complex power(Complex z, std::int64_t exponent) {
    Complex result{1, 0};
    for (; exponent; exponent >>= 1) {
        if (exponent & 1) result = result * z;
        z = z * z;
    }
    return result;
}

// What one task needs, n of each: powers and sums in double, as separate real and imaginary parts.
struct Doubles {
    double *re, *im;
    Doubles(double*& at, std::int64_t n) : re(at), im(at + n) { at += 2 * n; }
    Complex operator[](std::int64_t i) const { return {re[i], im[i]}; }
    void set(std::int64_t i, Complex v) const {
        re[i] = v.re;
        im[i] = v.im;
    }
    void multiply(const Doubles& by, std::int64_t n) const {
        for (std::int64_t i = 0; i < n; ++i) set(i, (*this)[i] * by[i]);
    }
};

template <class Real>
Complex entry(const Real* values, std::int64_t i) { return {values[2 * i], values[2 * i + 1]}; }

// out[Rows][64] = powers[Rows][depth] table[depth][64]
template <int Rows, class Real>
GOSSAMER_INLINE void multiply_rows(const Real* powers, const Real* table, std::int64_t depth, Real* out) {
    using V = simd<Real>;
    constexpr int columns = 4;
    for (int from = 0; from < block; from += columns * V::width) {
        typename V::type sum[Rows][columns] = {};
        for (std::int64_t k = 0; k < depth; ++k) {
            typename V::type t[columns];
            for (int j = 0; j < columns; ++j) t[j] = V::load(table + k * block + from + j * V::width);
            for (int r = 0; r < Rows; ++r) {
                const auto p = V::splat(powers[r * depth + k]);
                for (int j = 0; j < columns; ++j) sum[r][j] += p * t[j];
            }
        }
        for (int r = 0; r < Rows; ++r)
            for (int j = 0; j < columns; ++j) V::store(out + r * block + from + j * V::width, sum[r][j]);
    }
}

template <class Real>
void kernel(const Modes<Real>& m, Real* out, int threads) {
    const std::int64_t n = m.n, depth = 2 * n, blocks = ceil_div(m.length, block), parts = ceil_div(blocks, segment);
    threads = worthwhile_threads(4 * m.rows * n * m.length, threads);
    const std::int64_t reals = depth * (block + panel) + together * block;
    const Scratch memory(round_up(reals * sizeof(Real), 64) + 8 * 6 * n, threads);
    parallel_chunks_by_thread(m.rows * parts, threads, [&](std::int64_t task, int thread) {
        const std::int64_t row = task / parts, first = task % parts * segment;
        const std::int64_t last = least(blocks, first + segment);
        Real* table = reinterpret_cast<Real*>(memory.part(thread));
        Real *powers = table + depth * block, *tail = powers + panel * depth;
        double* at = reinterpret_cast<double*>(memory.part(thread) + round_up(reals * sizeof(Real), 64));
        const Doubles z(at, n), w(at, n), leap(at, n);
        for (std::int64_t i = 0; i < n; ++i) {
            z.set(i, entry(m.z + row * depth, i));
            w.set(i, {1, 0});
        }
        for (std::int64_t j = 0; j < block; ++j) {
            for (std::int64_t i = 0; i < n; ++i) {
                table[i * block + j] = static_cast<Real>(w.re[i]);
                table[(n + i) * block + j] = static_cast<Real>(w.im[i]);
            }
            w.multiply(z, n);
        }
        for (std::int64_t i = 0; i < n; ++i) {
            leap.set(i, w[i]);
            w.set(i, entry(m.c + row * depth, i) * power(leap[i], first));
        }
        for (std::int64_t from = first; from < last; from += panel) {
            const std::int64_t count = least(panel, last - from);
            for (std::int64_t b = 0; b < count; ++b) {
                Real* to = powers + b * depth;
                for (std::int64_t i = 0; i < n; ++i) {
                    to[i] = static_cast<Real>(w.re[i]);
                    to[n + i] = static_cast<Real>(-w.im[i]);
                }
                w.multiply(leap, n);
            }
            for (std::int64_t b = 0; b < count;) {
                const std::int64_t place = (from + b) * block, room = m.length - place;
                Real* to = out + row * m.length + place;
                const int rows = count - b >= together ? together : 1;
                Real* into = room >= rows * block ? to : tail;
                if (rows == together)
                    multiply_rows<together>(powers + b * depth, table, depth, into);
                else
                    multiply_rows<1>(powers + b * depth, table, depth, into);
                if (into == tail)
                    for (std::int64_t j = 0; j < room; ++j) to[j] = tail[j];
                b += rows;
            }
        }
    });
}

// q[Rows][4][width]: sums over j of g[r][j] times z^j and j z^(j-1), real and imaginary, for one vector of modes
template <int Rows, class Real>
GOSSAMER_INLINE void moments(const Real* g, const Real* table, std::int64_t wide, Real* q) {
    using V = simd<Real>;
    typename V::type sum[Rows][4] = {};
    for (std::int64_t j = 0; j < block; ++j) {
        typename V::type t[4];
        for (int k = 0; k < 4; ++k) t[k] = V::load(table + (4 * j + k) * wide);
        for (int r = 0; r < Rows; ++r) {
            const auto value = V::splat(g[r * block + j]);
            for (int k = 0; k < 4; ++k) sum[r][k] += value * t[k];
        }
    }
    for (int r = 0; r < Rows; ++r)
        for (int k = 0; k < 4; ++k) V::store(q + (4 * r + k) * wide, sum[r][k]);
}

template <class Real>
void kernel_back(const Modes<Real>& m, const Real* slope, Real* dc, Real* dz, int threads) {
    using V = simd<Real>;
    const std::int64_t n = m.n, wide = round_up(n, V::width), blocks = ceil_div(m.length, block);
    const std::int64_t parts = most<std::int64_t>(1, ceil_div(blocks, segment));
    threads = worthwhile_threads(8 * m.rows * n * m.length, threads);
    const std::int64_t reals = 4 * wide * (block + together) + together * block;
    const Scratch memory(round_up(reals * sizeof(Real), 64) + 8 * 8 * n, threads);
    const Scratch sums(8 * 4 * n * m.rows * parts, 1);
    double* all = reinterpret_cast<double*>(sums.part(0));
    parallel_chunks_by_thread(m.rows * parts, threads, [&](std::int64_t task, int thread) {
        const std::int64_t row = task / parts, first = task % parts * segment;
        const std::int64_t last = least(blocks, first + segment);
        Real* table = reinterpret_cast<Real*>(memory.part(thread));
        Real *q = table + 4 * wide * block, *g = q + 4 * wide * together;
        double* at = reinterpret_cast<double*>(memory.part(thread) + round_up(reals * sizeof(Real), 64));
        const Doubles z(at, n), w(at, n), before(at, n), leap(at, n); // before = w / z, without dividing
        double* own = all + task * 4 * n;
        const Doubles s0(own, n), s1(own, n);
        for (std::int64_t i = 0; i < 4 * wide * block; ++i) table[i] = 0;
        for (std::int64_t i = 0; i < n; ++i) {
            z.set(i, entry(m.z + row * 2 * n, i));
            w.set(i, {1, 0});
            before.set(i, {0, 0});
            s0.set(i, {0, 0});
            s1.set(i, {0, 0});
        }
        for (std::int64_t j = 0; j < block; ++j) {
            Real* to = table + 4 * wide * j;
            for (std::int64_t i = 0; i < n; ++i) {
                to[i] = static_cast<Real>(w.re[i]);
                to[wide + i] = static_cast<Real>(w.im[i]);
                to[2 * wide + i] = static_cast<Real>(static_cast<double>(j) * before.re[i]);
                to[3 * wide + i] = static_cast<Real>(static_cast<double>(j) * before.im[i]);
                before.set(i, w[i]);
            }
            w.multiply(z, n);
        }
        for (std::int64_t i = 0; i < n; ++i) {
            leap.set(i, w[i]);
            const Complex short_of = before[i]; // z^63
            w.set(i, power(leap[i], first));
            before.set(i, first ? short_of * power(leap[i], first - 1) : Complex{0, 0});
        }
        // z^63 is needed again after the first block
        const std::int64_t row63 = 4 * wide * (block - 1);
        for (std::int64_t b = first; b < last;) {
            const int rows = last - b >= together ? together : 1;
            const std::int64_t place = b * block, room = m.length - place;
            const Real* from = slope + row * m.length + place;
            if (room < rows * block) {
                for (std::int64_t j = 0; j < rows * block; ++j) g[j] = j < room ? from[j] : Real{};
                from = g;
            }
            for (std::int64_t i = 0; i < wide; i += V::width) {
                if (rows == together)
                    moments<together>(from, table + i, wide, q + i);
                else
                    moments<1>(from, table + i, wide, q + i);
            }
            for (int r = 0; r < rows; ++r, ++b) {
                const Real* at_block = q + 4 * wide * r;
                const double times = static_cast<double>(block * b);
                for (std::int64_t i = 0; i < n; ++i) {
                    const Complex p0{at_block[i], at_block[wide + i]};
                    const Complex p1{at_block[2 * wide + i], at_block[3 * wide + i]};
                    const Complex a = w[i] * p0, d = w[i] * p1, e = before[i] * p0;
                    s0.set(i, {s0.re[i] + a.re, s0.im[i] + a.im});
                    s1.set(i, {s1.re[i] + d.re + times * e.re, s1.im[i] + d.im + times * e.im});
                    before.set(i, b ? before[i] * leap[i] : Complex{table[row63 + i], table[row63 + wide + i]});
                }
                w.multiply(leap, n);
            }
        }
    });
    for (std::int64_t row = 0; row < m.rows; ++row)
        for (std::int64_t i = 0; i < n; ++i) {
            Complex a{0, 0}, d{0, 0};
            for (std::int64_t part = 0; part < parts; ++part) {
                const double* own = all + (row * parts + part) * 4 * n;
                a = {a.re + own[i], a.im + own[n + i]};
                d = {d.re + own[2 * n + i], d.im + own[3 * n + i]};
            }
            d = d * entry(m.c + row * 2 * n, i);
            Real *to_c = dc + 2 * (row * n + i), *to_z = dz + 2 * (row * n + i);
            to_c[0] = static_cast<Real>(a.re);
            to_c[1] = static_cast<Real>(-a.im);
            to_z[0] = static_cast<Real>(d.re);
            to_z[1] = static_cast<Real>(-d.im);
        }
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::ssm
