// E-steps of sparse coding by expectation truncation. A state says which causes a point has, at most `active` of them,
// and each cause's value; those with two and more lie among the point's candidates. A row of `joint` or `posterior`
// holds: no cause; one cause, latents x values; then the tree of two and more, in preorder: each state is followed by
// those that add causes behind its last one. Callers fill the columns of no and of one cause; sums over points are made
// in chunks of a fixed size, added in order.
// Flops a state: linear about 6, maximum 60 features, Gaussian 4 active^2.
#pragma once

#include <cstdint>

namespace gossamer::coding {

struct States {
    std::int64_t points, latents;
    std::int64_t candidates, active, values; // of a point; most causes; values of a cause besides 0
    std::int64_t columns;                    // of a row
    const std::int32_t* chosen;              // (points, candidates), ascending
};

struct Linear { // y = W s + noise, everything divided by the variance and the temperature
    const double *value, *prior; // (values): log prior of a value against 0
    const double *field, *gram;  // (points, latents) of y.W, (latents, latents) of W.W
};

struct Maximum { // y = (sum sign(W) |W|^rho)^(1/rho) + noise; W in units of `scale`
    std::int64_t features;       // a multiple of eight, padded by zeros
    const double *power, *slope; // (latents, features): sign(W) |W|^rho, |W|^(rho - 1)
    const double *scale, *data;  // (features), (points, features)
    double exponent, prior, precision;
};

struct Gaussian { // y = W (s z) + noise, z ~ N(mean, slab); beta: power of the likelihood with z integrated out
    double beta;
    const double *prior, *mean; // (latents)
    const double* slab;         // (latents, latents), or (latents) if it is diagonal
    bool diagonal;
    const double *field, *gram; // (points, latents) of W^T noise^-1 y, (latents, latents) of W^T noise^-1 W
};

// Sums over points and states; of pairs both (i, j) and (j, i). Rows of points are added to, the others written.
struct LinearMoments {
    double *mean;           // (points, latents) of s
    double *second, *count; // (latents, latents) of s s^T; (values): causes that have a value
};

struct MaximumMoments {
    double *weight, *weighted; // (latents, features) of A and of A y
};

struct GaussianMoments {
    double *mean, *active;          // (points, latents) of s z and of s
    double *second, *cross, *pairs; // (latents, latents) of s z (s z)^T, s (s z)^T, s s^T; the latter two are not
                                    // written if the slab is diagonal
};

struct Table {
    void (*largest)(const double* scores, std::int64_t points, std::int64_t latents, std::int64_t count,
                    std::int32_t* chosen, int threads); // of each row, the first of equal ones
    // joint becomes the posterior, evidence its log normaliser
    void (*normalise)(double* joint, std::int64_t points, std::int64_t columns, double* evidence, int threads);
    void (*linear_joint)(const States&, const Linear&, double* joint, int threads);
    void (*linear_moments)(const States&, const Linear&, const double* posterior, const LinearMoments&, int threads);
    // score = -sum_d max(W_d - y_d, 0), W and the data in the same units
    void (*excess)(const double* data, const double* W, std::int64_t points, std::int64_t latents,
                   std::int64_t features, double* score, int threads);
    void (*maximum_joint)(const States&, const Maximum&, double* joint, int threads);
    void (*maximum_moments)(const States&, const Maximum&, const double* posterior, const MaximumMoments&, int threads);
    // out (points, features) += sum of posterior times what a state superposes to
    void (*maximum_mean)(const States&, const Maximum&, const double* posterior, double* out, int threads);
    // out (points) = sum over the tree of posterior times |y - bar|^2 - |y|^2
    void (*maximum_residual)(const States&, const Maximum&, const double* posterior, double* out, int threads);
    void (*gaussian_joint)(const States&, const Gaussian&, double* joint, int threads);
    void (*gaussian_moments)(const States&, const Gaussian&, const double* posterior, const GaussianMoments&,
                             int threads);
};

extern const Table portable_table, avx2_table, avx512_table, neon_table;

} // namespace gossamer::coding
