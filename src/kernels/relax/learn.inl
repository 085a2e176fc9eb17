// The arithmetic of learners of the relaxation parameter: small, done once for every system that is solved.
#include "../dispatch/scratch.hpp"
#include "../dispatch/simd.hpp"
#include "relax.hpp"

namespace gossamer::relax {
inline namespace GOSSAMER_ISA {

// p_i = 4 / (eta (k_i - x))^2 with sum 1; k has least entry 0. Newton's method on sum(p)^-1/2, which is concave and nearly a
// line in x, comes down from x = -2 / eta, where the sum is at least 1, monotonically and in few steps.
inline void tsallis_law(const double* k, double eta, std::int64_t d, double* p) {
    double x = -2 / eta, total = 1;
    for (int steps = 0; steps < 50; ++steps) {
        double slope = 0;
        total = 0;
        for (std::int64_t i = 0; i < d; ++i) {
            const double q = 2 / (eta * (k[i] - x));
            p[i] = q * q;
            total += p[i];
            slope += p[i] * q;
        }
        const double change = 2 * total * (__builtin_sqrt(total) - 1) / (eta * slope);
        x -= change;
        if (!(__builtin_fabs(change) > -1e-14 * x)) break;
    }
    for (std::int64_t i = 0; i < d; ++i) p[i] /= total;
}

// Rotations that make the symmetric a (m, m) diagonal; the columns of v are its eigenvectors.
inline void diagonalise(double* a, double* v, std::int64_t m) {
    for (std::int64_t i = 0; i < m * m; ++i) v[i] = i % (m + 1) == 0;
    for (int rounds = 0; rounds < 30; ++rounds) {
        double off = 0, on = 0;
        for (std::int64_t i = 0; i < m; ++i)
            for (std::int64_t j = 0; j < m; ++j) (i == j ? on : off) += a[i * m + j] * a[i * m + j];
        if (!(off > 1e-32 * on)) return;
        for (std::int64_t i = 0; i < m; ++i)
            for (std::int64_t j = i + 1; j < m; ++j) {
                if (a[i * m + j] == 0) continue;
                const double ratio = (a[j * m + j] - a[i * m + i]) / (2 * a[i * m + j]);
                const double t = (ratio < 0 ? -1 : 1) / (__builtin_fabs(ratio) + __builtin_sqrt(1 + ratio * ratio));
                const double c = 1 / __builtin_sqrt(1 + t * t), s = t * c;
                const auto turn = [=](double& x, double& y) {
                    const double old = x;
                    x = c * old - s * y;
                    y = s * old + c * y;
                };
                for (std::int64_t k = 0; k < m; ++k) turn(a[k * m + i], a[k * m + j]);
                for (std::int64_t k = 0; k < m; ++k) turn(a[i * m + k], a[j * m + k]);
                for (std::int64_t k = 0; k < m; ++k) turn(v[k * m + i], v[k * m + j]);
            }
    }
}

// The shortest minimiser x of x.Gx / 2 - y.x over the coordinates `at`; a and v hold count^2 numbers each.
inline void shortest(const double* gram, std::int64_t m, const std::int64_t* at, std::int64_t count, const double* y,
                     double* a, double* v, double* x) {
    for (std::int64_t i = 0; i < count; ++i)
        for (std::int64_t j = 0; j < count; ++j) a[i * count + j] = gram[at[i] * m + at[j]];
    diagonalise(a, v, count);
    double largest = 0;
    for (std::int64_t i = 0; i < count; ++i) {
        largest = most(largest, a[i * count + i]);
        x[i] = 0;
    }
    for (std::int64_t k = 0; k < count; ++k) {
        const double value = a[k * count + k];
        if (!(value > 1e-12 * largest)) continue;
        double along = 0;
        for (std::int64_t i = 0; i < count; ++i) along += v[i * count + k] * y[i];
        for (std::int64_t i = 0; i < count; ++i) x[i] += v[i * count + k] * (along / value);
    }
}

// Bounded-variable least squares (Stark and Parker) from the feasible x: coordinates are free or at a bound. The free ones
// go towards their minimum until one meets its bound; when they are there, the one at a bound that wants inside most is
// freed.
inline void boxed(const double* gram, const double* moment, const double* bound, std::int64_t m, std::int64_t* at,
                  double* y, double* step, double* a, double* v, double* x) {
    double size = 0;
    std::int64_t count = 0;
    for (std::int64_t i = 0; i < m; ++i) {
        size = most(size, __builtin_fabs(moment[i]));
        if (__builtin_fabs(x[i]) < bound[i]) at[count++] = i;
    }
    const auto slope = [=](std::int64_t i) {
        double value = moment[i];
        for (std::int64_t j = 0; j < m; ++j) value -= gram[i * m + j] * x[j];
        return value;
    };
    for (std::int64_t rounds = 0; rounds < 20 * (m + 1); ++rounds) {
        while (count) {
            for (std::int64_t k = 0; k < count; ++k) y[k] = slope(at[k]);
            shortest(gram, m, at, count, y, a, v, step);
            double room = 1;
            std::int64_t first = -1;
            for (std::int64_t k = 0; k < count; ++k) {
                const double limit = step[k] < 0 ? -bound[at[k]] : bound[at[k]];
                if (__builtin_fabs(x[at[k]] + step[k]) > bound[at[k]] && (limit - x[at[k]]) / step[k] < room) {
                    room = most(0.0, (limit - x[at[k]]) / step[k]);
                    first = k;
                }
            }
            for (std::int64_t k = 0; k < count; ++k) x[at[k]] += room * step[k];
            if (first < 0) break;
            x[at[first]] = step[first] < 0 ? -bound[at[first]] : bound[at[first]];
            at[first] = at[--count];
        }
        double gain = 1e-10 * size;
        std::int64_t enter = -1;
        for (std::int64_t i = 0; i < m; ++i) {
            bool is_free = false;
            for (std::int64_t k = 0; k < count; ++k) is_free |= at[k] == i;
            const double wants = slope(i);
            if (!is_free && bound[i] > 0 && __builtin_fabs(wants) > gain && (wants < 0) == (x[i] > 0)) {
                gain = __builtin_fabs(wants);
                enter = i;
            }
        }
        if (enter < 0) return;
        at[count++] = enter;
    }
}

// The shortest minimiser if it is within bounds, else one of those that are; x holds a feasible start. Whether it is held.
inline bool least_squares(const double* gram, const double* moment, const double* bound, std::int64_t m, double* x) {
    const Scratch memory((3 * m + 2 * m * m) * static_cast<std::int64_t>(sizeof(double)), 1);
    double *y = reinterpret_cast<double*>(memory.part(0)), *step = y + m, *a = step + m, *v = a + m * m;
    std::int64_t* at = reinterpret_cast<std::int64_t*>(v + m * m);
    for (std::int64_t i = 0; i < m; ++i) at[i] = i;
    shortest(gram, m, at, m, moment, a, v, step);
    bool held = false;
    for (std::int64_t i = 0; i < m; ++i) held |= __builtin_fabs(step[i]) > bound[i];
    if (held)
        boxed(gram, moment, bound, m, at, y, step, a, v, x);
    else
        for (std::int64_t i = 0; i < m; ++i) x[i] = step[i];
    return held;
}

inline void chebyshev(double x, std::int64_t m, double* phi) {
    for (std::int64_t j = 0; j < m; ++j) phi[j] = j == 0 ? 1 : j == 1 ? x : 2 * x * phi[j - 1] - phi[j - 2];
}

// Inverse-gap weighting: p_i = 1 / (d + eta (y_i - y_best)), the rest for the best
inline void chebcb_law(const Regression& a, double x, double* p, double* scores) {
    const Scratch memory(a.m * static_cast<std::int64_t>(sizeof(double)), 1);
    double* phi = reinterpret_cast<double*>(memory.part(0));
    chebyshev(x, a.m, phi);
    std::int64_t best = 0;
    for (std::int64_t i = 0; i < a.d; ++i) {
        scores[i] = 0;
        for (std::int64_t j = 0; j < a.m; ++j) scores[i] += a.theta[i * a.m + j] * phi[j];
        scores[i] /= a.kept[Regression::scale];
        if (scores[i] < scores[best]) best = i;
    }
    double others = 0;
    for (std::int64_t i = 0; i < a.d; ++i) {
        p[i] = 1 / (static_cast<double>(a.d) + a.kept[Regression::eta] * (scores[i] - scores[best]));
        if (i != best) others += p[i];
    }
    p[best] = 1 - others;
}

inline void chebcb_learn(const Regression& a, double x, std::int64_t index, double cost, double score) {
    using R = Regression;
    const Scratch memory(a.m * static_cast<std::int64_t>(sizeof(double)), 1);
    double *phi = reinterpret_cast<double*>(memory.part(0)), *kept = a.kept;
    const std::int64_t m = a.m;
    chebyshev(x, m, phi);
    double *gram = a.gram + index * m * m, *moment = a.moment + index * m, *theta = a.theta + index * m;
    for (std::int64_t i = 0; i < m; ++i) {
        for (std::int64_t j = 0; j < m; ++j) gram[i * m + j] += phi[i] * phi[j];
        moment[i] += (cost - 1) * phi[i];
    }
    a.square[index] += (cost - 1) * (cost - 1);
    kept[R::count] += 1;
    kept[R::predicted] += score * score;
    kept[R::product] += score * cost;
    kept[R::costs] += cost * cost;

    const auto fit = [&](std::int64_t arm) {
        a.held[arm] = least_squares(a.gram + arm * m * m, a.moment + arm * m, a.bound, m, a.theta + arm * m);
    };
    if (cost > kept[R::most] || cost < kept[R::least]) {
        kept[R::most] = most(cost, kept[R::most]);
        kept[R::least] = least(cost, kept[R::least]);
        const double spread = kept[R::most] - kept[R::least]; // (b - a) Lip
        a.bound[0] = kept[R::most];
        for (std::int64_t j = 1; j < m; ++j) a.bound[j] = 2 * spread / static_cast<double>(j);
        kept[R::scale] = 2 * kept[R::most] + 4 * spread * (1 + __builtin_log(static_cast<double>(m))); // K N
        for (std::int64_t arm = 0; arm < a.d; ++arm)
            if (a.held[arm] && arm != index) fit(arm); // the bounds have become wider
    }
    fit(index);

    const double scale = kept[R::scale], t = kept[R::count], order = static_cast<double>(m);
    double regret = kept[R::predicted] - 2 * kept[R::product] / scale + kept[R::costs] / (scale * scale);
    if (a.held[index]) {
        double misfit = a.square[index];
        for (std::int64_t i = 0; i < m; ++i) {
            double along = -2 * moment[i];
            for (std::int64_t j = 0; j < m; ++j) along += gram[i * m + j] * theta[j];
            misfit += theta[i] * along;
        }
        regret -= most(misfit, 0.0) / (scale * scale);
    }
    constexpr double pi = 3.14159265358979323846;
    const double alpha = (pi + 2 / pi * __builtin_log(2 * order + 1)) / (2 * (order + 1)) *
                         ((kept[R::most] - kept[R::least]) / scale);
    kept[R::eta] = 2 * t * __builtin_sqrt(static_cast<double>(a.d) * t / (most(regret, 1e-12) + 2 * alpha * alpha * t));
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::relax
