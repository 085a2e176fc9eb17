// Chains of block-diagonal products with permutations between: Monarch matrices, their transposes, MM*.
// A stage multiplies each of its blocks with its share of the rows and deals the results out to the next stage.
// Flops 2 N sum(blocks rows depth). Bytes: weights once a tile of tokens, X and Y once; what lies between stays in L2.
#pragma once

#include <cstdint>

namespace gossamer::monarch {

struct Stage {                                   // a view
    const void* weights;                         // of the product's type, or raw bfloat16
    bool bfloat16;
    std::int64_t blocks, rows, depth;            // Y_b[rows, N] = W_b[rows, depth] X_b[depth, N]
    std::int64_t block_step, row_step, col_step; // of the weights, in elements: a transpose swaps the last two
    const std::int32_t* target;                  // [blocks * rows]: where a row goes; negative is dropped
};

template <class Real>
struct Operand { // [features, tokens]
    Real* data;
    std::int64_t features, tokens;
    bool by_token; // tokens are rows in memory, not columns
};

struct Chain {
    const Stage* stages;
    int count; // none: a permutation alone
    const std::int32_t* place; // [features of x]: where a feature enters the first stage; the other places are zero
};

template <class Real>
using Multiply = void (*)(const Chain&, const Operand<const Real>& x, const Real* bias, const Operand<Real>& y, int threads);

struct Table {
    Multiply<float> float32;
    Multiply<double> float64;
};

extern const Table portable_table, avx2_table, avx512_table, neon_table;

} // namespace gossamer::monarch
