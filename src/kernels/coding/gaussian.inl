// Causes with Gaussian amplitudes, one point a vector lane. With the active set S: Lam = G_SS + P, P = slab_SS^-1,
// rhs = W_S^T noise^-1 y + P mean_S, Lam = L L^T. A further cause adds one row to L and L^-1; only where the slab is
// not diagonal it changes P as well, and all rows are made anew.
namespace gossamer::coding {
inline namespace GOSSAMER_ISA {

struct GaussianLanes { // of one thread
    using T = V::type;
    const States& s;
    const Gaussian& a;
    std::int64_t c, g;                     // candidates, most causes
    T *gram, *slab, *field, *mean, *prior; // of the candidates
    T *P, *cov, *kappa;                    // (g, g), (g, g) and (g) a depth
    T *L, *inverse, *rhs, *solved;         // rows of the prefix at hand
    T *first, *second;                     // moments of the lanes: of s z and s; of pairs
    std::int64_t* path;

    struct Node { // of a prefix: sums of log priors, mean.P mean, |L^-1 rhs|^2; det Lam, det slab
        T prior, quadratic, square, lam, slab;
    };

    static std::int64_t memory(const States& s, bool diagonal) { // in doubles
        const std::int64_t c = s.candidates, g = s.active, slab = diagonal ? c : c * c;
        const std::int64_t vectors = c * c + slab + 3 * c + 2 * g * g * g + g * g + 2 * g * g + 2 * g;
        return (vectors + 2 * c + 3 * c * c) * V::width + g;
    }

    GaussianLanes(const States& states, const Gaussian& model, double* memory)
        : s(states), a(model), c(states.candidates), g(states.active) {
        T* at = reinterpret_cast<T*>(memory);
        const auto take = [&at](std::int64_t count) {
            at += count;
            return at - count;
        };
        gram = take(c * c), slab = take(a.diagonal ? c : c * c), field = take(c), mean = take(c), prior = take(c);
        P = take(g * g * g), cov = take(g * g * g), kappa = take(g * g);
        L = take(g * g), inverse = take(g * g), rhs = take(g), solved = take(g);
        first = take(2 * c), second = take(3 * c * c);
        path = reinterpret_cast<std::int64_t*>(at);
    }

    // points from `begin` on; lanes beyond the last point repeat it
    void load(std::int64_t begin) {
        const std::int64_t H = s.latents;
        for (int lane = 0; lane < V::width; ++lane) {
            const std::int64_t n = least(begin + lane, s.points - 1);
            const std::int32_t* id = s.chosen + n * c;
            for (std::int64_t i = 0; i < c; ++i) {
                field[i][lane] = a.field[n * H + id[i]];
                mean[i][lane] = a.mean[id[i]];
                prior[i][lane] = a.prior[id[i]];
                if (a.diagonal) slab[i][lane] = a.slab[id[i]];
                for (std::int64_t j = 0; j < c; ++j) {
                    gram[i * c + j][lane] = a.gram[id[i] * H + id[j]];
                    if (!a.diagonal) slab[i * c + j][lane] = a.slab[id[i] * H + id[j]];
                }
            }
        }
    }

    static Node root() {
        const T none = V::splat(0), one = V::splat(1);
        return {none, none, none, one, one};
    }

    // the prefix gains path[d]
    template <bool Moments>
    Node extend(std::int64_t d, const Node& above) {
        const std::int64_t j = path[d];
        Node node = above;
        T* p = P + d * g * g;
        node.prior += prior[j];
        if (a.diagonal) {
            const T precision = V::splat(1) / slab[j];
            rhs[d] = field[j] + precision * mean[j];
            node.quadratic += precision * mean[j] * mean[j];
            node.slab *= slab[j];
            if (Moments && d) inherit(d);
            row<Moments>(d, d, node, precision);
            return node;
        }
        widen(d, p, node);
        node.square = V::splat(0), node.lam = V::splat(1);
        for (std::int64_t i = 0; i <= d; ++i) {
            rhs[i] = field[path[i]];
            for (std::int64_t m = 0; m <= d; ++m) rhs[i] += p[i * g + m] * mean[path[m]];
        }
        for (std::int64_t i = 0; i <= d; ++i) row<Moments>(d, i, node, p[i * g + i]);
        return node;
    }

    // the inverse of a matrix that gains a row: u = P slab_Sj, delta = slab_jj - slab_jS u
    void widen(std::int64_t d, T* p, Node& node) {
        const std::int64_t j = path[d];
        const T* before = p - (d ? g * g : 0);
        T *u = solved, delta = slab[j * c + j], off = mean[j]; // rows are made anew after this: `solved` is free
        for (std::int64_t i = 0; i < d; ++i) {
            u[i] = V::splat(0);
            for (std::int64_t m = 0; m < d; ++m) u[i] += before[i * g + m] * slab[path[m] * c + j];
            delta -= u[i] * slab[path[i] * c + j];
            off -= u[i] * mean[path[i]];
        }
        const T precision = V::splat(1) / delta;
        for (std::int64_t i = 0; i < d; ++i) {
            for (std::int64_t m = 0; m < d; ++m) p[i * g + m] = before[i * g + m] + u[i] * u[m] * precision;
            p[d * g + i] = p[i * g + d] = -u[i] * precision;
        }
        p[d * g + d] = precision;
        node.quadratic += off * off * precision;
        node.slab *= delta;
    }

    void inherit(std::int64_t d) {
        for (std::int64_t i = 0; i < d; ++i) {
            kappa[d * g + i] = kappa[(d - 1) * g + i];
            for (std::int64_t m = 0; m <= i; ++m) cov[(d * g + i) * g + m] = cov[((d - 1) * g + i) * g + m];
        }
    }

    // row i of L and L^-1 in a prefix of d + 1 causes; covariance and kappa are sums over rows
    template <bool Moments>
    void row(std::int64_t d, std::int64_t i, Node& node, T precision) {
        const T *p = P + (d * g + i) * g, *g_row = gram + path[i] * c;
        T *l = L + i * g, *inv = inverse + i * g;
        T pivot = g_row[path[i]] + precision, value = rhs[i];
        for (std::int64_t m = 0; m < i; ++m) {
            T entry = g_row[path[m]];
            if (!a.diagonal) entry += p[m];
            for (std::int64_t q = 0; q < m; ++q) entry -= l[q] * L[m * g + q];
            entry *= inverse[m * g + m];
            l[m] = entry;
            pivot -= entry * entry;
            value -= entry * solved[m];
        }
        T reciprocal;
        for (int lane = 0; lane < V::width; ++lane) reciprocal[lane] = 1 / __builtin_sqrt(pivot[lane]);
        inv[i] = reciprocal;
        value *= reciprocal;
        solved[i] = value;
        node.square += value * value;
        node.lam *= pivot;
        if constexpr (Moments) {
            for (std::int64_t m = 0; m < i; ++m) {
                T sum = V::splat(0);
                for (std::int64_t q = m; q < i; ++q) sum += l[q] * inverse[q * g + m];
                inv[m] = -reciprocal * sum;
            }
            T *x = cov + d * g * g, *k = kappa + d * g;
            k[i] = V::splat(0);
            for (std::int64_t m = 0; m <= i; ++m) {
                x[i * g + m] = V::splat(0);
                k[m] += value * inv[m];
                for (std::int64_t q = 0; q <= m; ++q) x[m * g + q] += inv[m] * inv[q];
            }
        }
    }

    // visit(column, causes, node): states of two and more causes in order
    template <bool Moments, class Visit>
    void walk(std::int64_t d, std::int64_t from, const Node& above, std::int64_t& column, const Visit& visit) {
        for (std::int64_t j = from; j < c; ++j) {
            path[d] = j;
            const Node node = extend<Moments>(d, above);
            if (d) visit(column++, d + 1, node);
            if (d + 1 < g) walk<Moments>(d + 1, j + 1, node, column, visit);
        }
    }
};

inline void gaussian_joint(const States& s, const Gaussian& a, double* joint, int threads) {
    if (s.active < 2) return;
    const Scratch scratch(GaussianLanes::memory(s, a.diagonal) * static_cast<std::int64_t>(sizeof(double)), threads);
    over_points(s.points, 4 * s.active * s.active * s.columns, threads,
                [&](std::int64_t from, std::int64_t to, int thread) {
        GaussianLanes lanes(s, a, reinterpret_cast<double*>(scratch.part(thread)));
        for (std::int64_t n = from; n < to; n += V::width) {
            const std::int64_t here = least<std::int64_t>(V::width, to - n);
            lanes.load(n);
            std::int64_t column = 1 + s.latents;
            lanes.walk<false>(0, 0, GaussianLanes::root(), column,
                              [&](std::int64_t at, std::int64_t, const GaussianLanes::Node& node) {
                const auto value = node.prior + V::splat(0.5 * a.beta) * (node.square - node.quadratic -
                                                                          logarithm(node.lam * node.slab));
                for (std::int64_t lane = 0; lane < here; ++lane) joint[(n + lane) * s.columns + at] = value[lane];
            });
        }
    });
}

inline void gaussian_moments(const States& s, const Gaussian& a, const double* posterior, const GaussianMoments& out,
                             int threads) {
    const std::int64_t H = s.latents, c = s.candidates, g = s.active, kinds = a.diagonal ? 1 : 3;
    const Scratch total(kinds * H * H * static_cast<std::int64_t>(sizeof(double)), 1);
    auto* sums = reinterpret_cast<double*>(total.part(0));
    sum_over_points(s.points, kinds * H * H, GaussianLanes::memory(s, a.diagonal), threads, sums,
                    [&](std::int64_t from, std::int64_t to, double* sum, double* memory) {
        GaussianLanes lanes(s, a, memory);
        for (std::int64_t n = from; n < to && g > 1; n += V::width) {
            const std::int64_t here = least<std::int64_t>(V::width, to - n);
            lanes.load(n);
            for (std::int64_t i = 0; i < 2 * c + 3 * c * c; ++i) lanes.first[i] = V::splat(0);
            std::int64_t column = 1 + H;
            lanes.walk<true>(0, 0, GaussianLanes::root(), column,
                             [&](std::int64_t at, std::int64_t causes, const GaussianLanes::Node&) {
                auto q = V::splat(0);
                for (std::int64_t lane = 0; lane < here; ++lane) q[lane] = posterior[(n + lane) * s.columns + at];
                const auto *cov = lanes.cov + (causes - 1) * g * g, *kappa = lanes.kappa + (causes - 1) * g;
                for (std::int64_t i = 0; i < causes; ++i) {
                    const std::int64_t x = lanes.path[i];
                    lanes.first[x] += q * kappa[i];
                    lanes.first[c + x] += q;
                    for (std::int64_t m = 0; m <= i; ++m) {
                        const std::int64_t y = lanes.path[m];
                        auto* pair = lanes.second + x * c + y;
                        const auto both = q * (cov[i * g + m] + kappa[i] * kappa[m]);
                        pair[0] += both;
                        if (m < i) lanes.second[y * c + x] += both;
                        if (a.diagonal) continue;
                        pair[2 * c * c] += q;
                        if (m < i) lanes.second[(2 * c + y) * c + x] += q;
                        pair[c * c] += q * kappa[m];
                        if (m < i) lanes.second[c * c + y * c + x] += q * kappa[i];
                    }
                }
            });
            for (std::int64_t lane = 0; lane < here; ++lane) {
                const std::int32_t* id = s.chosen + (n + lane) * c;
                for (std::int64_t i = 0; i < c; ++i) {
                    out.mean[(n + lane) * H + id[i]] += lanes.first[i][lane];
                    out.active[(n + lane) * H + id[i]] += lanes.first[c + i][lane];
                    for (std::int64_t k = 0; k < kinds; ++k)
                        for (std::int64_t m = 0; m < c; ++m)
                            sum[(k * H + id[i]) * H + id[m]] += lanes.second[(k * c + i) * c + m][lane];
                }
            }
        }
    });
    for (std::int64_t i = 0; i < H * H; ++i) out.second[i] = sums[i];
    if (a.diagonal) return;
    for (std::int64_t i = 0; i < H * H; ++i) out.cross[i] = sums[H * H + i], out.pairs[i] = sums[2 * H * H + i];
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::coding
