// Powers and products of functions on a grid of polar nodes and azimuths, projected back.
namespace gossamer::gaunt {
inline namespace GOSSAMER_ISA {

inline constexpr int pair_block = 4;
inline constexpr int azimuth_block = vector_registers == 32 ? 4 : 2;

// Waves at `Pairs` pairs of nodes: line 2 r + south holds the factors of cos m phi at m and of sin m phi at L + m.
template <class Real, int Pairs>
void to_waves(const Vector<Real>* x, int L, const Real* table, std::int64_t pairs, Vector<Real>* waves) {
    using V = Vector<Real>;
    const std::int64_t line = 2 * L + 1;
    for (int m = 0; m <= L; ++m)
        for (int sine = 0; sine <= (m > 0); ++sine) {
            V even[Pairs]{}, odd[Pairs]{};
            const Real* t = table + first_of(L, m) * pairs;
            const int order = sine ? -m : m;
            int l = m;
            for (; l < L; l += 2, t += 2 * pairs) {
                const V a = x[l * l + l + order], b = x[(l + 1) * (l + 2) + order];
#pragma GCC unroll 4
                for (int r = 0; r < Pairs; ++r) even[r] += t[r] * a, odd[r] += t[pairs + r] * b;
            }
            if (l == L) {
                const V a = x[l * l + l + order];
#pragma GCC unroll 4
                for (int r = 0; r < Pairs; ++r) even[r] += t[r] * a;
            }
            V* to = waves + (sine ? L + m : m);
#pragma GCC unroll 4
            for (int r = 0; r < Pairs; ++r) {
                to[2 * r * line] = even[r] + odd[r];
                to[(2 * r + 1) * line] = even[r] - odd[r];
            }
        }
}

template <class Real, int Pairs>
void from_waves(const Vector<Real>* waves, int L, const Real* table, std::int64_t pairs, Vector<Real>* z) {
    using V = Vector<Real>;
    const std::int64_t line = 2 * L + 1;
    for (int m = 0; m <= L; ++m)
        for (int sine = 0; sine <= (m > 0); ++sine) {
            const V* from = waves + (sine ? L + m : m);
            V even[Pairs], odd[Pairs];
#pragma GCC unroll 4
            for (int r = 0; r < Pairs; ++r) {
                const V north = from[2 * r * line], south = from[(2 * r + 1) * line];
                even[r] = north + south;
                odd[r] = north - south;
            }
            const Real* t = table + first_of(L, m) * pairs;
            const int order = sine ? -m : m;
            const auto add = [&](int l, const V(&part)[Pairs]) __attribute__((always_inline)) {
                V sum = z[l * l + l + order];
#pragma GCC unroll 4
                for (int r = 0; r < Pairs; ++r) sum += t[r] * part[r];
                z[l * l + l + order] = sum;
                t += pairs;
            };
            int l = m;
            for (; l < L; l += 2) add(l, even), add(l + 1, odd);
            if (l == L) add(l, even);
        }
}

// The four images of `Count` azimuths of one line of waves.
template <class Real, int Count>
GOSSAMER_INLINE void to_points(const Vector<Real>* wave, int L, const Real* cosine, const Real* sine, int quarter,
                               Vector<Real> (&value)[4][Count]) {
    using V = Vector<Real>;
    V c[2][Count]{}, s[2][Count]{}; // even and odd m
#pragma GCC unroll 4
    for (int q = 0; q < Count; ++q) c[0][q] = wave[0];
    int m = 1;
    const auto add = [&](int parity) __attribute__((always_inline)) {
        const V a = wave[m], b = wave[L + m];
        const Real *p = cosine + static_cast<std::int64_t>(m) * quarter, *n = sine + static_cast<std::int64_t>(m) * quarter;
#pragma GCC unroll 4
        for (int q = 0; q < Count; ++q) c[parity][q] += p[q] * a, s[parity][q] += n[q] * b;
        ++m;
    };
    while (m < L) add(1), add(0);
    if (m == L) add(1);
#pragma GCC unroll 4
    for (int q = 0; q < Count; ++q) {
        const V a = c[0][q] + c[1][q], b = s[0][q] + s[1][q], d = c[0][q] - c[1][q], e = s[1][q] - s[0][q];
        value[0][q] = a + b;
        value[1][q] = d + e;
        value[2][q] = d - e;
        value[3][q] = a - b;
    }
}

template <class Real, int Count>
GOSSAMER_INLINE void from_points(const Vector<Real> (&value)[4][Count], int L, const Real* cosine, const Real* sine,
                                 int quarter, Vector<Real>* wave) {
    using V = Vector<Real>;
    V c[2][Count], s[2][Count];
#pragma GCC unroll 4
    for (int q = 0; q < Count; ++q) {
        const V a = value[0][q] + value[3][q], b = value[0][q] - value[3][q];
        const V d = value[1][q] + value[2][q], e = value[1][q] - value[2][q];
        c[0][q] = a + d;
        c[1][q] = a - d;
        s[0][q] = b - e;
        s[1][q] = b + e;
    }
    V all = wave[0];
#pragma GCC unroll 4
    for (int q = 0; q < Count; ++q) all += c[0][q];
    wave[0] = all;
    int m = 1;
    const auto add = [&](int parity) __attribute__((always_inline)) {
        const Real *p = cosine + static_cast<std::int64_t>(m) * quarter, *n = sine + static_cast<std::int64_t>(m) * quarter;
        V a = wave[m], b = wave[L + m];
#pragma GCC unroll 4
        for (int q = 0; q < Count; ++q) a += p[q] * c[parity][q], b += n[q] * s[parity][q];
        wave[m] = a;
        wave[L + m] = b;
        ++m;
    };
    while (m < L) add(1), add(0);
    if (m == L) add(1);
}

// One line of nodes, `Count` azimuths: every factor to points, all multiplied, the result added to its waves.
template <class Real, int Count>
void points(const Grid<Real>& grid, int q, const Vector<Real>* const* waves, Vector<Real>* result) {
    using V = Vector<Real>;
    V product[4][Count], value[4][Count];
    bool begun = false;
    for (int f = 0; f < grid.factors; ++f) {
        const Factor<Real>& factor = grid.factor[f];
        int left = factor.power;
        if (!begun) {
            to_points<Real, Count>(waves[f], factor.degree, grid.cosine + q, grid.sine + q, grid.quarter, product);
            begun = true;
            if (--left == 0) continue;
#pragma GCC unroll 4
            for (int i = 0; i < 4; ++i)
                for (int k = 0; k < Count; ++k) value[i][k] = product[i][k];
        } else {
            to_points<Real, Count>(waves[f], factor.degree, grid.cosine + q, grid.sine + q, grid.quarter, value);
        }
        for (; left > 0; --left)
#pragma GCC unroll 4
            for (int i = 0; i < 4; ++i)
                for (int k = 0; k < Count; ++k) product[i][k] *= value[i][k];
    }
    from_points<Real, Count>(product, grid.degree, grid.cosine + q, grid.sine + q, grid.quarter, result);
}

template <class Real, int Pairs>
void nodes(const Grid<Real>& grid, int pair, Vector<Real>* const* x, Vector<Real>* const* waves, Vector<Real>* result,
           Vector<Real>* z) {
    using V = Vector<Real>;
    for (int f = 0; f < grid.factors; ++f)
        to_waves<Real, Pairs>(x[f], grid.factor[f].degree, grid.factor[f].table + pair, grid.pairs, waves[f]);
    const std::int64_t line = 2 * grid.degree + 1;
    for (std::int64_t i = 0; i < 2 * Pairs * line; ++i) result[i] = V{};
    for (int r = 0; r < 2 * Pairs; ++r) {
        const V* own[max_factors];
        for (int f = 0; f < grid.factors; ++f) own[f] = waves[f] + r * std::int64_t{2 * grid.factor[f].degree + 1};
        int q = 0;
        for (; q + azimuth_block <= grid.quarter; q += azimuth_block)
            points<Real, azimuth_block>(grid, q, own, result + r * line);
        for (; q + 2 <= grid.quarter; q += 2) points<Real, 2>(grid, q, own, result + r * line);
        for (; q < grid.quarter; ++q) points<Real, 1>(grid, q, own, result + r * line);
    }
    from_waves<Real, Pairs>(result, grid.degree, grid.table + pair, grid.pairs, z);
}

template <class Real>
void grid(const Grid<Real>& grid, std::int64_t rows, Real* out, int threads) {
    using V = Vector<Real>;
    const std::int64_t size = harmonics(grid.degree);
    std::int64_t vectors = size + 2 * pair_block * (2 * grid.degree + 1);
    std::int64_t orders = 2 * grid.degree + 1, sums = size;
    for (int f = 0; f < grid.factors; ++f) {
        const int L = grid.factor[f].degree;
        vectors += harmonics(L) + 2 * pair_block * (2 * L + 1);
        orders += 2 * L + 1;
        sums += harmonics(L);
    }
    const std::int64_t work = grid.pairs * (sums + 2 * grid.quarter * (orders + 24));
    over_blocks<Real>(rows, vectors, work, threads, [&](std::int64_t first, std::int64_t count, V* memory) {
        V *z = memory, *result = z + size, *x[max_factors], *waves[max_factors];
        V* next = result + 2 * pair_block * (2 * grid.degree + 1);
        for (int f = 0; f < grid.factors; ++f) {
            const int L = grid.factor[f].degree;
            x[f] = next;
            waves[f] = x[f] + harmonics(L);
            next = waves[f] + 2 * pair_block * (2 * L + 1);
            gather(grid.factor[f].rows, first, count, x[f]);
        }
        for (std::int64_t i = 0; i < size; ++i) z[i] = V{};
        int pair = 0;
        for (; pair + 4 <= grid.pairs; pair += 4) nodes<Real, 4>(grid, pair, x, waves, result, z);
        if (grid.pairs - pair == 3) nodes<Real, 3>(grid, pair, x, waves, result, z);
        if (grid.pairs - pair == 2) nodes<Real, 2>(grid, pair, x, waves, result, z);
        if (grid.pairs - pair == 1) nodes<Real, 1>(grid, pair, x, waves, result, z);
        scatter(z, size, count, out + first * size);
    });
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::gaunt
