// Causes that add up. With r = W^T (y - W s) of the candidates behind the last cause of a prefix, a state that adds
// one more costs a few flops; means and second moments come back along the same tree, as adjoints of r.
namespace gossamer::coding {
inline namespace GOSSAMER_ISA {

struct LinearWalk { // of one thread; rows of `candidates` numbers
    const States& states;
    const Linear& model;
    std::int64_t c, values;
    double *gram, *half, *r; // of the candidates: (c, c); 1/2 value^2 W.W (c, values); a row a depth
    double* out;

    static std::int64_t memory(const States& s) {
        return s.candidates * (s.candidates + 2 * s.values + s.active + 1);
    }

    LinearWalk(const States& s, const Linear& a, double* memory)
        : states(s), model(a), c(s.candidates), values(s.values), gram(memory), half(gram + c * c),
          r(half + c * values), out(nullptr) {}

    void take(std::int64_t point) {
        const std::int32_t* id = states.chosen + point * c;
        for (std::int64_t i = 0; i < c; ++i) {
            const double* row = model.gram + id[i] * states.latents;
            for (std::int64_t j = 0; j < c; ++j) gram[i * c + j] = row[id[j]];
            r[i] = model.field[point * states.latents + id[i]];
            for (std::int64_t v = 0; v < values; ++v)
                half[i * values + v] = 0.5 * model.value[v] * model.value[v] * gram[i * c + i] - model.prior[v];
        }
    }

    // the states that add causes behind the last one, j, of a prefix of `depth` causes
    void descend(std::int64_t depth, std::int64_t j, double value, double base) {
        const double *above = r + (depth - 1) * c, *row = gram + j * c;
        double* here = r + depth * c;
        for (std::int64_t k = j + 1; k < c; ++k) here[k] = above[k] - value * row[k];
        const bool last = depth + 1 == states.active;
        if (last && values == 1) {
            for (std::int64_t k = j + 1; k < c; ++k) out[k - j - 1] = base + (model.value[0] * here[k] - half[k]);
            out += c - j - 1;
            return;
        }
        for (std::int64_t k = j + 1; k < c; ++k)
            for (std::int64_t v = 0; v < values; ++v) {
                const double joint = base + (model.value[v] * here[k] - half[k * values + v]);
                *out++ = joint;
                if (!last) descend(depth + 1, k, model.value[v], joint);
            }
    }
};

inline void linear_joint(const States& s, const Linear& a, double* joint, int threads) {
    if (s.active < 2) return;
    const Scratch scratch(LinearWalk::memory(s) * static_cast<std::int64_t>(sizeof(double)), threads);
    over_points(s.points, 6 * s.columns, threads, [&](std::int64_t from, std::int64_t to, int thread) {
        LinearWalk walk(s, a, reinterpret_cast<double*>(scratch.part(thread)));
        for (std::int64_t n = from; n < to; ++n) {
            double* row = joint + n * s.columns;
            walk.take(n);
            walk.out = row + 1 + s.latents * s.values;
            for (std::int64_t j = 0; j < s.candidates; ++j)
                for (std::int64_t v = 0; v < s.values; ++v)
                    walk.descend(1, j, a.value[v], row[1 + s.chosen[n * s.candidates + j] * s.values + v]);
        }
    });
}

struct LinearCollect {
    const States& states;
    const Linear& model;
    std::int64_t c, values;
    double *pair, *count, *adjoint; // (c, c) for i < j, (c, values), a row a depth
    const double* in;

    LinearCollect(const States& s, const Linear& a, double* memory)
        : states(s), model(a), c(s.candidates), values(s.values), pair(memory), count(pair + c * c),
          adjoint(count + c * values), in(nullptr) {}

    // returns the mass of the states that descend() writes
    double descend(std::int64_t depth, std::int64_t j, double value) {
        double *above = adjoint + (depth - 1) * c, *here = adjoint + depth * c, *row = pair + j * c;
        const bool last = depth + 1 == states.active;
        double mass = 0;
        for (std::int64_t k = j + 1; k < c; ++k) here[k] = 0;
        for (std::int64_t k = j + 1; k < c; ++k)
            for (std::int64_t v = 0; v < values; ++v) {
                double q = *in++;
                if (!last) q += descend(depth + 1, k, model.value[v]);
                here[k] += model.value[v] * q;
                count[k * values + v] += q;
                mass += q;
            }
        for (std::int64_t k = j + 1; k < c; ++k) {
            row[k] += value * here[k];
            above[k] += here[k];
        }
        return mass;
    }
};

inline void linear_moments(const States& s, const Linear& a, const double* posterior, const LinearMoments& out,
                           int threads) {
    const std::int64_t H = s.latents, c = s.candidates;
    const std::int64_t size = H * H + s.values;
    const Scratch total(size * static_cast<std::int64_t>(sizeof(double)), 1);
    auto* sums = reinterpret_cast<double*>(total.part(0));
    sum_over_points(s.points, size, LinearWalk::memory(s), threads, sums,
                    [&](std::int64_t from, std::int64_t to, double* sum, double* memory) {
        LinearCollect collect(s, a, memory);
        for (std::int64_t n = from; n < to && s.active > 1; ++n) {
            const std::int32_t* id = s.chosen + n * c;
            zero(memory, c * (c + s.values + 1));
            collect.in = posterior + n * s.columns + 1 + H * s.values;
            for (std::int64_t j = 0; j < c; ++j)
                for (std::int64_t v = 0; v < s.values; ++v) {
                    const double mass = collect.descend(1, j, a.value[v]);
                    collect.adjoint[j] += a.value[v] * mass;
                    collect.count[j * s.values + v] += mass;
                }
            for (std::int64_t j = 0; j < c; ++j) {
                out.mean[n * H + id[j]] += collect.adjoint[j];
                for (std::int64_t k = j + 1; k < c; ++k) sum[id[j] * H + id[k]] += collect.pair[j * c + k];
                for (std::int64_t v = 0; v < s.values; ++v) {
                    const double count = collect.count[j * s.values + v];
                    sum[id[j] * H + id[j]] += a.value[v] * a.value[v] * count;
                    sum[H * H + v] += count;
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
