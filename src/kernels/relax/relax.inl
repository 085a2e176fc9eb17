// The one template of the family; each <isa>.cpp includes it and exports its table.
#include "checks.inl"
#include "learn.inl"
#include "lines.inl"

namespace gossamer::relax {
inline namespace GOSSAMER_ISA {

inline double root(double value) { return __builtin_sqrt(value); }
inline bool finite(double value) { return value - value == 0; }

// Whether a matrix goes line by line: `if constexpr` because only a grid can.
template <class Matrix>
inline constexpr bool has_lines = false;
template <>
inline constexpr bool has_lines<Grid> = true;

template <class Matrix>
double residual(const Matrix& a, const double* b, const double* x, double* r, int threads) {
    if constexpr (has_lines<Matrix>)
        if (!a.checkerboard) return root(line_product(a, -1, b, x, nullptr, r));
    return root(all_rows(a, threads, [=](const auto& row, Sums& sums) {
                    const double value = row.less_upper(row.less_lower(b[row.i] - row.diagonal() * x[row.i], x), x);
                    r[row.i] = value;
                    sums.first += value * value;
                }).first);
}

template <class Matrix>
void sweep(const Matrix& a, const double* b, double omega, bool backward, double* x, int threads) {
    if constexpr (has_lines<Matrix>)
        if (!a.checkerboard) return line_sweep(a, b, omega, backward, x, nullptr);
    const double keep = 1 - omega;
    in_order(a, backward, threads, [=](const auto& row, Sums&) {
        const double rest = backward ? row.less_upper(row.less_lower(b[row.i], x), x)
                                     : row.less_lower(row.less_upper(b[row.i], x), x);
        x[row.i] = keep * x[row.i] + (omega / row.diagonal()) * rest;
    });
}

// z = (D/w + L)^-1 r; the sum of z.Kz with K = ((2-w)/w) D
template <class Matrix>
double forward_solve(const Matrix& a, double omega, const double* r, double* z, int threads) {
    const double middle = (2 - omega) / omega;
    if constexpr (has_lines<Matrix>)
        if (!a.checkerboard) return middle * a.diagonal * line_forward(a, omega, r, z);
    return in_order(a, false, threads, [=](const auto& row, Sums& sums) {
               const double value = (omega / row.diagonal()) * row.less_lower(r[row.i], z);
               z[row.i] = value;
               sums.first += middle * row.diagonal() * value * value;
           }).first;
}

template <class Matrix>
void apply(const Matrix& a, double omega, const double* r, double* z, int threads) {
    forward_solve(a, omega, r, z, threads);
    const double middle = (2 - omega) / omega;
    if constexpr (has_lines<Matrix>)
        if (!a.checkerboard) {
            line_backward(a, omega, middle * a.diagonal, 0, z, nullptr, z);
            return;
        }
    in_order(a, true, threads, [=](const auto& row, Sums&) {
        const double right = middle * row.diagonal() * z[row.i];
        z[row.i] = (omega / row.diagonal()) * row.less_upper(right, z);
    });
}

// A forward sweep, and the norm of r = ((1-w)/w D - L^T) (x_new - x_old), which reads half of A
template <class Matrix>
double sweep_with_residual(const Matrix& a, const double* b, double omega, double* x, double* change, int threads) {
    const double keep = 1 - omega, ratio = (1 - omega) / omega;
    if constexpr (has_lines<Matrix>)
        if (!a.checkerboard) {
            line_sweep(a, b, omega, false, x, change);
            return root(line_recurrence(a, ratio * a.diagonal, change));
        }
    in_order(a, false, threads, [=](const auto& row, Sums&) {
        const double rest = row.less_lower(row.less_upper(b[row.i], x), x);
        const double now = keep * x[row.i] + (omega / row.diagonal()) * rest;
        change[row.i] = now - x[row.i];
        x[row.i] = now;
    });
    return root(all_rows(a, threads, [=](const auto& row, Sums& sums) {
                    const double value = row.less_upper(ratio * row.diagonal() * change[row.i], change);
                    sums.first += value * value;
                }).first);
}

// The true residual has the last word where the recurrence says that it is small enough.
template <class Matrix>
Outcome sor(const Matrix& a, const double* b, double omega, bool recurrence, double goal, std::int64_t steps, double* x,
            double* norms, int threads) {
    const Scratch memory(size(a) * static_cast<std::int64_t>(sizeof(double)), 2);
    double *change = reinterpret_cast<double*>(memory.part(0)), *r = reinterpret_cast<double*>(memory.part(1));
    for (std::int64_t k = 0; k < steps; ++k) {
        double norm;
        if (recurrence) {
            norm = sweep_with_residual(a, b, omega, x, change, threads);
            if (norm <= goal) norm = residual(a, b, x, r, threads);
        } else {
            sweep(a, b, omega, false, x, threads);
            norm = residual(a, b, x, r, threads);
        }
        norms[k] = norm;
        if (!finite(norm)) return {k + 1, End::diverged, norm};
        if (norm <= goal) return {k + 1, End::goal, 0};
    }
    return {steps, End::steps, 0};
}

// q = A p; p.q
template <class Matrix>
double product(const Matrix& a, const double* p, double* q, int threads) {
    if constexpr (has_lines<Matrix>)
        if (!a.checkerboard) return line_product(a, 1, nullptr, p, p, q);
    return all_rows(a, threads, [=](const auto& row, Sums& sums) {
               const double value = -row.less_upper(row.less_lower(-row.diagonal() * p[row.i], p), p);
               q[row.i] = value;
               sums.first += value * p[row.i];
           }).first;
}

// One iteration with M = I or M = SSOR applied as it stands; the squared norm of the residual, or what went wrong.
template <class Matrix>
End step(const Matrix& a, Form form, double omega, const Search& s, int threads, double& norm, double& curvature) {
    const std::int64_t n = size(a);
    double *x = s.x, *r = s.r, *p = s.p, *q = s.q, *z = form == Form::plain ? s.r : s.z;
    if (form == Form::ssor) apply(a, omega, r, z, threads);
    const double before = *s.rho, rho = in_stretches(n, threads, [=](std::int64_t from, std::int64_t to, Sums& sums) {
                                            sums.first += dot(r + from, z + from, to - from);
                                        }).first;
    if (!(rho > 0)) {
        curvature = rho;
        return End::preconditioner;
    }
    const double beta = before > 0 ? rho / before : 0;
    in_stretches(n, threads, [=](std::int64_t from, std::int64_t to, Sums&) {
        for (std::int64_t i = from; i < to; ++i) p[i] = z[i] + beta * p[i];
    });
    curvature = product(a, p, q, threads);
    if (!(curvature > 0)) return End::direction;
    *s.rho = rho;
    const double length = rho / curvature;
    norm = in_stretches(n, threads, [=](std::int64_t from, std::int64_t to, Sums& sums) {
               for (std::int64_t i = from; i < to; ++i) {
                   x[i] += length * p[i];
                   r[i] -= length * q[i];
               }
               sums.first += dot(r + from, r + from, to - from);
           }).first;
    return End::steps;
}

// Eisenstat's form, with S = D/w + L, K = (2/w - 1) D, M = S K^-1 S^T, A = S + S^T - K, z = S^-1 r, q = S^T p.
// Backwards: q = K z + beta q, p = S^-T q; p.Ap = 2 p.q - p.Kp, so that the step is known before A p is.
template <class Matrix>
double turn_back(const Matrix& a, double omega, double beta, const Search& s, int threads) {
    const double middle = (2 - omega) / omega;
    double *p = s.p, *q = s.q, *z = s.z;
    if constexpr (has_lines<Matrix>)
        if (!a.checkerboard) {
            const Sums sums = line_backward(a, omega, middle * a.diagonal, beta, z, q, p);
            return 2 * sums.first - middle * a.diagonal * sums.second;
        }
    const Sums sums = in_order(a, true, threads, [=](const auto& row, Sums& own) {
        const double scaled = middle * row.diagonal(), right = scaled * z[row.i] + beta * q[row.i];
        q[row.i] = right;
        const double value = (omega / row.diagonal()) * row.less_upper(right, p);
        p[row.i] = value;
        own.first += value * right;
        own.second += value * scaled * value;
    });
    return 2 * sums.first - sums.second;
}

// Forwards: A p = L p + q + ((w-1)/w) D p on the way, r and x a step further, and z afresh from r: no product with A costs
// a reading of it. The sums r.r and z.Kz.
template <class Matrix>
Sums go_on(const Matrix& a, double omega, double length, const Search& s, int threads) {
    const double middle = (2 - omega) / omega, own = (omega - 1) / omega;
    double *x = s.x, *r = s.r, *p = s.p, *q = s.q, *z = s.z;
    if constexpr (has_lines<Matrix>)
        if (!a.checkerboard) {
            const Sums sums = line_step(a, omega, own * a.diagonal, length, p, q, x, r, z);
            return {sums.first, middle * a.diagonal * sums.second};
        }
    return in_order(a, false, threads, [=](const auto& row, Sums& sums) {
        const double d = row.diagonal(), along = p[row.i];
        const double along_a = q[row.i] + own * d * along - row.less_lower(0, p);
        const double rest = r[row.i] - length * along_a;
        x[row.i] += length * along;
        r[row.i] = rest;
        sums.first += rest * rest;
        const double value = (omega / d) * row.less_lower(rest, z);
        z[row.i] = value;
        sums.second += middle * d * value * value;
    });
}

template <class Matrix>
End eisenstat(const Matrix& a, double omega, const Search& s, int threads, double& norm, double& curvature) {
    double &rho = s.rho[0], &before = s.rho[1]; // rho is 0 before the first iteration
    if (!(rho > 0)) rho = forward_solve(a, omega, s.r, s.z, threads);
    if (!(rho > 0)) {
        curvature = rho;
        return End::preconditioner;
    }
    curvature = turn_back(a, omega, before > 0 ? rho / before : 0, s, threads);
    if (!(curvature > 0)) return End::direction;
    const Sums sums = go_on(a, omega, rho / curvature, s, threads);
    norm = sums.first;
    before = rho;
    rho = sums.second;
    return End::steps;
}

template <class Matrix>
Outcome pcg(const Matrix& a, Form form, double omega, double goal, std::int64_t steps, const Search& s, double* norms,
            int threads) {
    for (std::int64_t k = 0; k < steps; ++k) {
        double norm = 0, curvature = 0;
        const End end = form == Form::eisenstat ? eisenstat(a, omega, s, threads, norm, curvature)
                                                : step(a, form, omega, s, threads, norm, curvature);
        if (end != End::steps) return {k, end, curvature};
        norms[k] = norm = root(norm);
        if (!finite(norm)) return {k + 1, End::diverged, norm};
        if (norm <= goal) return {k + 1, End::goal, 0};
    }
    return {steps, End::steps, 0};
}

template <class Matrix>
inline constexpr Entries<Matrix> entries{residual<Matrix>, sweep<Matrix>, apply<Matrix>, sor<Matrix>, pcg<Matrix>};

inline constexpr Table kernels{entries<Csr<std::int32_t>>,
                               entries<Csr<std::int64_t>>,
                               entries<Grid>,
                               {prepare<std::int32_t>, asymmetry<std::int32_t>, colour<std::int32_t>},
                               {prepare<std::int64_t>, asymmetry<std::int64_t>, colour<std::int64_t>},
                               {tsallis_law, chebcb_law, chebcb_learn, least_squares}};

} // namespace GOSSAMER_ISA
} // namespace gossamer::relax
