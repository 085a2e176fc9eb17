// Products with the inverse of damp I + (1/m) sum g g^T. Gradients are rows of G (m, d), row-major.
// Flops 2 m d a pass; bytes m d sizeof value a pass. Blocks: m d (2 m + ...) flops, one pass.
#pragma once

#include <cstdint>

namespace gossamer::fisher {

struct bfloat16 { std::uint16_t bits; };

template <class Value>
struct Rows { // a view
    std::int64_t m, d;
    const Value* data;
};

template <class Value>
struct Passes { // x and y are both float or both double; sums are double, but for float x with
                  // bfloat16 rows: runs of 8 products in float, the runs in double
    void (*project32)(const Rows<Value>&, const float* x, double* t, int threads);
    void (*project64)(const Rows<Value>&, const double* x, double* t, int threads);
    void (*combine32)(const Rows<Value>&, const double* c, const float* x, double alpha, float* y, int threads);
    void (*combine64)(const Rows<Value>&, const double* c, const double* x, double alpha, double* y, int threads);
};

template <class Value>
struct Blocks {
    // false: a block's Gram matrix is not positive definite to working precision
    bool (*factor)(const Rows<Value>&, std::int64_t block, double damp, Value* w, int threads);
    void (*multiply)(const Rows<Value>&, std::int64_t block, double damp, const double* x, double* y, int threads);
    double (*columns_dot)(const Rows<Value>&, std::int64_t a, std::int64_t b);
    void (*gram)(const Rows<Value>&, double* out, int threads); // m^2 d flops, m d sizeof value bytes
};

struct Table {
    Passes<float> float32;
    Passes<double> float64;
    Passes<bfloat16> bfloat16_;
    Blocks<float> blocks32;
    Blocks<double> blocks64;
    // upper (m, m) row-major, K = upper^T upper; `row` is the new row r of K and is overwritten
    bool (*replace)(double* upper, std::int64_t m, std::int64_t r, double* row);
    void (*solve)(const double* upper, std::int64_t m, double* t); // t becomes K^-1 t
    // a gradient into a row of the window; false, with nothing written, if it has NaN or infinite entries
    bool (*copy_row)(const float* g, std::int64_t count, float* row, int threads);
    bool (*round_row)(const float* g, std::int64_t count, bfloat16* row, float* held, int threads);
};

extern const Table portable_table, avx2_table, avx512_table, neon_table;

} // namespace gossamer::fisher
