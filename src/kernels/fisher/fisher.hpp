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
struct Passes { // x, y are double: they are d numbers, G is m times that
    void (*project)(const Rows<Value>&, const double* x, double* t, int threads);
    void (*combine)(const Rows<Value>&, const double* c, const double* x, double alpha, double* y, int threads);
};

template <class Value>
struct Blocks {
    // false: a block's Gram matrix is not positive definite to working precision
    bool (*factor)(const Rows<Value>&, std::int64_t block, double damp, Value* w, int threads);
    void (*multiply)(const Rows<Value>&, std::int64_t block, double damp, const double* x, double* y, int threads);
};

struct Table {
    Passes<float> float32;
    Passes<double> float64;
    Passes<bfloat16> bfloat16_;
    Blocks<float> blocks32;
    Blocks<double> blocks64;
    // upper (m, m) row-major, K = upper^T upper; `row` is the new row r of K and is overwritten
    bool (*replace)(double* upper, std::int64_t m, std::int64_t r, double* row);
};

extern const Table portable_table, avx2_table, avx512_table;

} // namespace gossamer::fisher
