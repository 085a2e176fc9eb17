// Causes that add up, one point a vector lane. With r = W^T (y - W s) of the candidates behind the last cause of a prefix,
// a state that adds one more costs a few flops; means and second moments come back along the same tree, as adjoints of r.
namespace gossamer::coding {
inline namespace GOSSAMER_ISA {

struct LinearWalk { // of one thread
    using T = V::type;
    const States& states;
    const Linear& model;
    std::int64_t c, values;
    T *gram, *half, *r; // (c, c); 1/2 value^2 W.W - prior (c, values); a row a depth
    double* joint;
    std::int64_t first = 0, count = 0, column = 0; // points at hand, and the state

    static std::int64_t memory(const States& s) { // in doubles
        return s.candidates * (s.candidates + s.values + s.active) * V::width;
    }

    LinearWalk(const States& s, const Linear& a, double* memory, double* to)
        : states(s), model(a), c(s.candidates), values(s.values), gram(reinterpret_cast<T*>(memory)),
          half(gram + c * c), r(half + c * values), joint(to) {}

    void take(std::int64_t from, std::int64_t to) { // lanes beyond the last point repeat it
        first = from, count = to - from;
        for (std::int64_t lane = 0; lane < V::width; ++lane) {
            const std::int64_t n = least(from + lane, to - 1);
            const std::int32_t* id = states.chosen + n * c;
            for (std::int64_t i = 0; i < c; ++i) {
                const double* row = model.gram + id[i] * states.latents;
                for (std::int64_t j = 0; j < c; ++j) gram[i * c + j][lane] = row[id[j]];
                r[i][lane] = model.field[n * states.latents + id[i]];
            }
        }
        for (std::int64_t i = 0; i < c; ++i)
            for (std::int64_t v = 0; v < values; ++v)
                half[i * values + v] = V::splat(0.5 * model.value[v] * model.value[v]) * gram[i * c + i] -
                                       V::splat(model.prior[v]);
    }

    T single(std::int64_t j, std::int64_t v) const { // what callers filled in
        T x;
        for (std::int64_t lane = 0; lane < V::width; ++lane) {
            const std::int64_t n = first + least(lane, count - 1);
            x[lane] = joint[n * states.columns + 1 + states.chosen[n * c + j] * values + v];
        }
        return x;
    }

    void write(T x) {
        double* to = joint + first * states.columns + column++;
        if (count == V::width)
            for (int lane = 0; lane < V::width; ++lane) to[lane * states.columns] = x[lane];
        else
            for (std::int64_t lane = 0; lane < count; ++lane) to[lane * states.columns] = x[lane];
    }

    // the states that add causes behind the last one, j, of a prefix of `depth` causes
    void descend(std::int64_t depth, std::int64_t j, double value, T base) {
        const T *above = r + (depth - 1) * c, *row = gram + j * c;
        T* here = r + depth * c;
        const bool last = depth + 1 == states.active;
        for (std::int64_t k = j + 1; k < c; ++k) here[k] = above[k] - V::splat(value) * row[k];
        for (std::int64_t k = j + 1; k < c; ++k)
            for (std::int64_t v = 0; v < values; ++v) {
                const T x = base + (V::splat(model.value[v]) * here[k] - half[k * values + v]);
                write(x);
                if (!last) descend(depth + 1, k, model.value[v], x);
            }
    }
};

inline void linear_joint(const States& s, const Linear& a, double* joint, int threads) {
    if (s.active < 2) return;
    const Scratch scratch(LinearWalk::memory(s) * static_cast<std::int64_t>(sizeof(double)), threads);
    over_points(s.points, 3 * s.columns, threads, [&](std::int64_t from, std::int64_t to, int thread) {
        LinearWalk walk(s, a, reinterpret_cast<double*>(scratch.part(thread)), joint);
        for (std::int64_t n = from; n < to; n += V::width) {
            walk.take(n, least<std::int64_t>(n + V::width, to));
            walk.column = 1 + s.latents * s.values;
            for (std::int64_t j = 0; j < s.candidates; ++j)
                for (std::int64_t v = 0; v < s.values; ++v) walk.descend(1, j, a.value[v], walk.single(j, v));
        }
    });
}

struct LinearCollect {
    using T = V::type;
    const States& states;
    const double* value;
    std::int64_t c, values;
    T *pair, *share, *adjoint; // (c, c) for i < j; (c, values) mass of a value; a row a depth
    const double* posterior;
    std::int64_t first = 0, count = 0, column = 0;

    LinearCollect(const States& s, const Linear& a, double* memory, const double* from)
        : states(s), value(a.value), c(s.candidates), values(s.values), pair(reinterpret_cast<T*>(memory)),
          share(pair + c * c), adjoint(share + c * values), posterior(from) {}

    T read() {
        const double* from = posterior + first * states.columns + column++;
        T q = V::splat(0);
        if (count == V::width)
            for (int lane = 0; lane < V::width; ++lane) q[lane] = from[lane * states.columns];
        else
            for (std::int64_t lane = 0; lane < count; ++lane) q[lane] = from[lane * states.columns];
        return q;
    }

    // returns the mass of the states that LinearWalk::descend writes
    T descend(std::int64_t depth, std::int64_t j, double of) {
        T *above = adjoint + (depth - 1) * c, *here = adjoint + depth * c, *row = pair + j * c;
        const bool last = depth + 1 == states.active;
        T mass = V::splat(0);
        for (std::int64_t k = j + 1; k < c; ++k) here[k] = V::splat(0);
        for (std::int64_t k = j + 1; k < c; ++k)
            for (std::int64_t v = 0; v < values; ++v) {
                T q = read();
                if (!last) q += descend(depth + 1, k, value[v]);
                here[k] += V::splat(value[v]) * q;
                share[k * values + v] += q;
                mass += q;
            }
        for (std::int64_t k = j + 1; k < c; ++k) {
            row[k] += V::splat(of) * here[k];
            above[k] += here[k];
        }
        return mass;
    }
};

inline void linear_moments(const States& s, const Linear& a, const double* posterior, const LinearMoments& out,
                           int threads) {
    const std::int64_t H = s.latents, c = s.candidates, size = H * H + s.values;
    const Scratch total(size * static_cast<std::int64_t>(sizeof(double)), 1);
    auto* sums = reinterpret_cast<double*>(total.part(0));
    sum_over_points(s.points, size, LinearWalk::memory(s), threads, sums,
                    [&](std::int64_t from, std::int64_t to, double* sum, double* memory) {
        LinearCollect collect(s, a, memory, posterior);
        for (std::int64_t n = from; n < to && s.active > 1; n += V::width) {
            collect.first = n, collect.count = least<std::int64_t>(V::width, to - n);
            collect.column = 1 + H * s.values;
            zero(memory, c * (c + s.values + 1) * V::width);
            for (std::int64_t j = 0; j < c; ++j)
                for (std::int64_t v = 0; v < s.values; ++v) {
                    const auto mass = collect.descend(1, j, a.value[v]);
                    collect.adjoint[j] += V::splat(a.value[v]) * mass;
                    collect.share[j * s.values + v] += mass;
                }
            for (std::int64_t lane = 0; lane < collect.count; ++lane) {
                const std::int32_t* id = s.chosen + (n + lane) * c;
                for (std::int64_t j = 0; j < c; ++j) {
                    double* row = sum + id[j] * H;
                    out.mean[(n + lane) * H + id[j]] += collect.adjoint[j][lane];
                    for (std::int64_t k = j + 1; k < c; ++k) row[id[k]] += collect.pair[j * c + k][lane];
                    for (std::int64_t v = 0; v < s.values; ++v) {
                        const double share = collect.share[j * s.values + v][lane];
                        row[id[j]] += a.value[v] * a.value[v] * share;
                        sum[H * H + v] += share;
                    }
                }
            }
        }
    });
    for (std::int64_t i = 0; i < H; ++i)
        for (std::int64_t j = i; j < H; ++j) out.second[i * H + j] = out.second[j * H + i] = sums[i * H + j];
    for (std::int64_t v = 0; v < s.values; ++v) out.count[v] = sums[H * H + v];
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::coding
