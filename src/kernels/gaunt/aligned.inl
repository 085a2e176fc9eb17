// Convolutions with a filter about a direction: the direction is turned to the pole, each order is multiplied on its own.
namespace gossamer::gaunt {
inline namespace GOSSAMER_ISA {

// Coefficients of the function turned about the polar axis by the angle with this cosine and sine.
template <class Real>
void turn(Vector<Real>* x, int L, Vector<Real> cosine, Vector<Real> sine) {
    using V = Vector<Real>;
    V c = cosine, s = sine; // of m times the angle
    for (int m = 1; m <= L; ++m) {
        for (int l = m; l <= L; ++l) {
            V *a = x + l * l + l + m, *b = x + l * l + l - m;
            const V old = *a;
            *a = old * c - *b * s;
            *b = old * s + *b * c;
        }
        const V next = c * cosine - s * sine;
        s = s * cosine + c * sine;
        c = next;
    }
}

template <class Real>
void aligned(const Aligned<Real>& all, std::int64_t rows, Real* out, int threads) {
    using V = Vector<Real>;
    const int L = all.degree, top = all.out_degree, deepest = most(L, top);
    const std::int64_t size = harmonics(top), pairs = all.pairs, filters = all.filter_degree + 1;
    const std::int64_t vectors = 2 * harmonics(deepest) + filters + 4 + 4 * pairs;
    const std::int64_t work = 4 * (all.exchange.pointers[harmonics(deepest)] + harmonics(deepest)) + 2 * pairs * harmonics(deepest);
    over_blocks<Real>(rows, vectors, work, threads, [&](std::int64_t first, std::int64_t count, V* memory) {
        V *x = memory, *y = x + harmonics(deepest), *filter = y + harmonics(deepest), *angle = filter + filters;
        V *profile = angle + 4, *wave = profile + 2 * pairs; // north at 2 p, south at 2 p + 1
        gather(all.x, first, count, x);
        gather(all.filter, first, count, filter);
        gather(all.turns, first, count, angle);
        for (std::int64_t p = 0; p < pairs; ++p) {
            V sum[2]{};
            for (int l = 0; l < filters; ++l) sum[l & 1] += all.filter_table[l * pairs + p] * filter[l];
            profile[2 * p] = sum[0] + sum[1];
            profile[2 * p + 1] = sum[0] - sum[1];
        }
        turn<Real>(x, L, angle[0], -angle[1]);
        multiply(all.exchange, 0, harmonics(L), x, y);
        turn<Real>(y, L, angle[2], -angle[3]);
        multiply(all.exchange, 0, harmonics(L), y, x);
        for (std::int64_t i = 0; i < size; ++i) y[i] = V{};
        for (int m = 0; m <= least(L, top); ++m)
            for (int sine = 0; sine <= (m > 0); ++sine) {
                const int order = sine ? -m : m;
                const Real* t = all.table + first_of(L, m) * pairs;
                for (std::int64_t p = 0; p < 2 * pairs; ++p) wave[p] = V{};
                for (int l = m; l <= L; ++l, t += pairs) { // even l - m, then odd ones
                    const V a = x[l * l + l + order];
                    V* to = wave + ((l - m) & 1 ? pairs : 0);
                    for (std::int64_t p = 0; p < pairs; ++p) to[p] += t[p] * a;
                }
                for (std::int64_t p = 0; p < pairs; ++p) {
                    const V north = (wave[p] + wave[pairs + p]) * profile[2 * p];
                    const V south = (wave[p] - wave[pairs + p]) * profile[2 * p + 1];
                    wave[p] = north + south;
                    wave[pairs + p] = north - south;
                }
                t = all.out_table + first_of(top, m) * pairs;
                for (int l = m; l <= top; ++l, t += pairs) {
                    const V* from = wave + ((l - m) & 1 ? pairs : 0);
                    V sum{};
                    for (std::int64_t p = 0; p < pairs; ++p) sum += t[p] * from[p];
                    y[l * l + l + order] = sum;
                }
            }
        multiply(all.exchange, 0, size, y, x);
        turn<Real>(x, top, angle[2], angle[3]);
        multiply(all.exchange, 0, size, x, y);
        turn<Real>(y, top, angle[0], angle[1]);
        scatter(y, size, count, out + first * size);
    });
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::gaunt
