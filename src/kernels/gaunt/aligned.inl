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

// The direction of the filter is turned to the pole; y is overwritten.
template <class Real>
void to_pole(const Aligned<Real>& all, const Vector<Real>* angle, int L, Vector<Real>* x, Vector<Real>* y) {
    turn<Real>(x, L, angle[0], -angle[1]);
    multiply(all.exchange, 0, harmonics(L), x, y);
    turn<Real>(y, L, angle[2], -angle[3]);
    multiply(all.exchange, 0, harmonics(L), y, x);
}

// One order at the northern nodes: the part that is even about the equator, then the odd one.
template <class Real>
void to_nodes(const Vector<Real>* x, int L, int order, const Real* table, std::int64_t pairs, Vector<Real>* wave) {
    using V = Vector<Real>;
    const int m = order < 0 ? -order : order;
    const Real* t = table + first_of(L, m) * pairs;
    for (std::int64_t p = 0; p < 2 * pairs; ++p) wave[p] = V{};
    for (int l = m; l <= L; ++l, t += pairs) {
        const V a = x[l * l + l + order];
        V* to = wave + ((l - m) & 1 ? pairs : 0);
        for (std::int64_t p = 0; p < pairs; ++p) to[p] += t[p] * a;
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
        to_pole(all, angle, L, x, y);
        for (std::int64_t i = 0; i < size; ++i) y[i] = V{};
        const int orders = least(L, top);
        for (int order = -orders; order <= orders; ++order) {
            const int m = order < 0 ? -order : order;
            to_nodes(x, L, order, all.table, pairs, wave);
            for (std::int64_t p = 0; p < pairs; ++p) {
                const V north = (wave[p] + wave[pairs + p]) * profile[2 * p];
                const V south = (wave[p] - wave[pairs + p]) * profile[2 * p + 1];
                wave[p] = north + south;
                wave[pairs + p] = north - south;
            }
            const Real* t = all.out_table + first_of(top, m) * pairs;
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

// The transpose in the filter: sums over orders of x and of a slope at the nodes, then over the nodes.
template <class Real>
void aligned_filter(const Aligned<Real>& all, std::int64_t rows, Real* out, int threads) {
    using V = Vector<Real>;
    const int L = all.degree, top = all.out_degree, deepest = most(L, top);
    const std::int64_t pairs = all.pairs, filters = all.filter_degree + 1;
    const std::int64_t vectors = 3 * harmonics(deepest) + filters + 4 + 6 * pairs;
    const std::int64_t work = 4 * (all.exchange.pointers[harmonics(deepest)] + harmonics(deepest)) + 2 * pairs * harmonics(deepest);
    over_blocks<Real>(rows, vectors, work, threads, [&](std::int64_t first, std::int64_t count, V* memory) {
        V *x = memory, *g = x + harmonics(deepest), *y = g + harmonics(deepest), *filter = y + harmonics(deepest);
        V *angle = filter + filters, *profile = angle + 4, *wave = profile + 2 * pairs, *slope = wave + 2 * pairs;
        gather(all.x, first, count, x);
        gather(all.other, first, count, g);
        gather(all.turns, first, count, angle);
        to_pole(all, angle, L, x, y);
        to_pole(all, angle, top, g, y);
        for (std::int64_t p = 0; p < 2 * pairs; ++p) profile[p] = V{};
        const int orders = least(L, top);
        for (int order = -orders; order <= orders; ++order) {
            to_nodes(x, L, order, all.table, pairs, wave);
            to_nodes(g, top, order, all.out_table, pairs, slope);
            for (std::int64_t p = 0; p < pairs; ++p) { // even about the equator, then odd; twice as north and south
                profile[p] += 2 * (wave[p] * slope[p] + wave[pairs + p] * slope[pairs + p]);
                profile[pairs + p] += 2 * (wave[p] * slope[pairs + p] + wave[pairs + p] * slope[p]);
            }
        }
        for (int l = 0; l < filters; ++l) {
            const V* from = profile + (l & 1 ? pairs : 0);
            V sum{};
            for (std::int64_t p = 0; p < pairs; ++p) sum += all.filter_table[l * pairs + p] * from[p];
            filter[l] = sum;
        }
        scatter(filter, filters, count, out + first * filters);
    });
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::gaunt
