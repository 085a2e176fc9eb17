// Causes of which the largest one shows, smoothed: one power a feature and state, the sums of powers kept along the tree.
namespace gossamer::coding {
inline namespace GOSSAMER_ISA {

// visit(state, depth, path, sums): the states of two and more causes of a point, in order; sums of their powers
template <class Visit>
void walk_sums(const States& s, const Maximum& a, const std::int32_t* id, double* sums, std::int32_t* path,
               std::int64_t depth, std::int64_t from, std::int64_t& state, const Visit& visit) {
    const double* above = sums + (depth ? depth - 1 : 0) * a.features;
    double* here = sums + depth * a.features;
    for (std::int64_t j = from; j < s.candidates; ++j) {
        const double* power = a.power + id[j] * a.features;
        path[depth] = static_cast<std::int32_t>(j);
        if (depth == 0)
            std::memcpy(here, power, static_cast<std::size_t>(a.features) * sizeof(double));
        else {
            for (std::int64_t d = 0; d < a.features; ++d) here[d] = above[d] + power[d];
            visit(state++, depth + 1, path, here);
        }
        if (depth + 1 < s.active) walk_sums(s, a, id, sums, path, depth + 1, j + 1, state, visit);
    }
}

struct Power {
    V::type size, root; // |t| and |t|^(1/rho)
};

GOSSAMER_INLINE Power root_of(V::type t, double exponent) {
    const auto floor = V::splat(1e-300);
    const auto size = t < V::splat(0) ? -t : t, safe = size > floor ? size : floor;
    return {safe, exponential<double>(logarithm(safe) * V::splat(exponent))};
}

GOSSAMER_INLINE V::type signed_as(V::type size, V::type t) { return t < V::splat(0) ? -size : size; }

// Memory of a walk: sums, a path, and `more` rows of features.
inline std::int64_t walk_memory(const States& s, const Maximum& a, std::int64_t more) {
    return (s.active + more) * a.features + s.active;
}

inline std::int32_t* path_of(const States& s, const Maximum& a, double* memory) {
    return reinterpret_cast<std::int32_t*>(memory + s.active * a.features);
}

// body(point, visitor): calls the visitor for each state of the point
template <class Body>
void over_states(const States& s, const Maximum& a, int threads, const Body& body) {
    if (s.active < 2) return;
    const Scratch scratch(walk_memory(s, a, 0) * static_cast<std::int64_t>(sizeof(double)), threads);
    over_points(s.points, 60 * a.features * s.columns, threads, [&](std::int64_t from, std::int64_t to, int thread) {
        auto* memory = reinterpret_cast<double*>(scratch.part(thread));
        for (std::int64_t n = from; n < to; ++n)
            body(n, [&](const auto& visit) {
                std::int64_t state = 1 + s.latents;
                walk_sums(s, a, s.chosen + n * s.candidates, memory, path_of(s, a, memory), 0, 0, state, visit);
            });
    });
}

inline void excess(const double* data, const double* W, std::int64_t points, std::int64_t latents,
                   std::int64_t features, double* score, int threads) {
    over_points(points, latents * features, threads, [&](std::int64_t from, std::int64_t to, int) {
        for (std::int64_t n = from; n < to; ++n)
            for (std::int64_t h = 0; h < latents; ++h) {
                auto sum = V::splat(0);
                for (std::int64_t d = 0; d < features; d += V::width) {
                    const auto over = V::load(W + h * features + d) - V::load(data + n * features + d);
                    sum -= over > V::splat(0) ? over : V::splat(0);
                }
                score[n * latents + h] = V::sum(sum);
            }
    });
}

constexpr double faint = 1e-20; // states of a posterior below this have no say

inline double distance(const Maximum& a, const double* sums, const double* y) { // |y - bar|^2 - |y|^2
    auto sum = V::splat(0);
    for (std::int64_t d = 0; d < a.features; d += V::width) {
        const auto t = V::load(sums + d);
        const auto bar = signed_as(V::load(a.scale + d) * root_of(t, a.exponent).root, t);
        sum += bar * (bar - V::splat(2) * V::load(y + d));
    }
    return V::sum(sum);
}

inline void maximum_joint(const States& s, const Maximum& a, double* joint, int threads) {
    over_states(s, a, threads, [&](std::int64_t n, const auto& each) {
        const double* y = a.data + n * a.features;
        double* row = joint + n * s.columns;
        each([&](std::int64_t state, std::int64_t causes, const std::int32_t*, const double* sums) {
            row[state] = static_cast<double>(causes) * a.prior - a.precision * distance(a, sums, y);
        });
    });
}

inline void maximum_residual(const States& s, const Maximum& a, const double* posterior, double* out, int threads) {
    over_states(s, a, threads, [&](std::int64_t n, const auto& each) {
        const double *y = a.data + n * a.features, *row = posterior + n * s.columns;
        double sum = 0;
        each([&](std::int64_t state, std::int64_t, const std::int32_t*, const double* sums) {
            if (row[state] >= faint) sum += row[state] * distance(a, sums, y);
        });
        out[n] = sum;
    });
}

inline void maximum_mean(const States& s, const Maximum& a, const double* posterior, double* out, int threads) {
    over_states(s, a, threads, [&](std::int64_t n, const auto& each) {
        double* to = out + n * a.features;
        const double* row = posterior + n * s.columns;
        each([&](std::int64_t state, std::int64_t, const std::int32_t*, const double* sums) {
            if (row[state] < faint) return;
            for (std::int64_t d = 0; d < a.features; d += V::width) {
                const auto t = V::load(sums + d);
                const auto bar = signed_as(V::load(a.scale + d) * root_of(t, a.exponent).root, t);
                V::store(to + d, V::load(to + d) + V::splat(row[state]) * bar);
            }
        });
    });
}

// A = min(1, |W / bar|^(rho - 1))
inline void maximum_moments(const States& s, const Maximum& a, const double* posterior, const MaximumMoments& out,
                            int threads) {
    const std::int64_t F = a.features, H = s.latents, c = s.candidates;
    const Scratch total(2 * H * F * static_cast<std::int64_t>(sizeof(double)), 1);
    auto* both = reinterpret_cast<double*>(total.part(0));
    sum_over_points(s.points, 2 * H * F, walk_memory(s, a, c), threads, both,
                    [&](std::int64_t from, std::int64_t to, double* sum, double* memory) {
        std::int32_t* path = path_of(s, a, memory);
        double* own = memory + s.active * F + s.active; // (candidates, features) of <A>
        for (std::int64_t n = from; n < to && s.active > 1; ++n) {
            const std::int32_t* id = s.chosen + n * c;
            const double *row = posterior + n * s.columns, *y = a.data + n * F;
            std::int64_t first = 1 + H;
            zero(own, c * F);
            walk_sums(s, a, id, memory, path, 0, 0, first,
                      [&](std::int64_t state, std::int64_t causes, const std::int32_t* members, const double* sums) {
                if (row[state] < faint) return;
                const auto q = V::splat(row[state]), one = V::splat(1);
                for (std::int64_t d = 0; d < F; d += V::width) {
                    const Power p = root_of(V::load(sums + d), a.exponent);
                    const auto share = p.root / p.size;
                    for (std::int64_t i = 0; i < causes; ++i) {
                        double* to = own + members[i] * F + d;
                        const auto part = V::load(a.slope + id[members[i]] * F + d) * share;
                        V::store(to, V::load(to) + q * (part < one ? part : one));
                    }
                }
            });
            for (std::int64_t j = 0; j < c; ++j) {
                double *weight = sum + id[j] * F, *weighted = weight + H * F;
                for (std::int64_t d = 0; d < F; ++d) {
                    weight[d] += own[j * F + d];
                    weighted[d] += own[j * F + d] * y[d];
                }
            }
        }
    });
    std::memcpy(out.weight, both, static_cast<std::size_t>(H * F) * sizeof(double));
    std::memcpy(out.weighted, both + H * F, static_cast<std::size_t>(H * F) * sizeof(double));
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::coding
