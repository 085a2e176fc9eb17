// Diagonal state-space models. Complex numbers are pairs of reals, interleaved.
// Vandermonde: K[l] = Re sum_n c_n z_n^l, as a product of powers of z^64 with powers below 64: 4 N L flops, and 8 N L back.
// Scan: x_k = a x_{k-1} + b_k with a constant in time: 8 flops and 16 bytes (float32) a state and step.
#pragma once

#include <cstdint>

namespace gossamer::ssm {

template <class Real>
struct Modes { // views
    const Real *c, *z; // complex (rows, n)
    std::int64_t rows, n, length;
};

template <class Real>
struct Steps { // views
    const Real* a;       // complex (states)
    const Real* initial; // complex (batch, states): the state before the first step; or null, for zeros
    std::int64_t batch, length, states;
    bool reverse; // time runs from the last step to the first
};

template <class Real>
struct Entries {
    void (*kernel)(const Modes<Real>&, Real* out, int threads); // (rows, length)
    // slopes of out (rows, length) to those of c and z, conjugated as torch has them
    void (*kernel_back)(const Modes<Real>&, const Real* slope, Real* dc, Real* dz, int threads);
    void (*scan)(const Steps<Real>&, const Real* b, Real* x, int threads); // complex (batch, length, states)
    // x as scan made it; db like x, da and d(initial) complex (batch, states)
    void (*scan_back)(const Steps<Real>&, const Real* x, const Real* slope, Real* db, Real* da, Real* dinitial,
                      int threads);
};

struct Table {
    Entries<float> float32;
    Entries<double> float64;
};

extern const Table portable_table, avx2_table, avx512_table, neon_table;

} // namespace gossamer::ssm
