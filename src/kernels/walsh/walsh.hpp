// Walsh-Hadamard transforms in natural order along the middle axis of an array (outer, 2^levels, inner):
// y[k] = scale * sum_m x[m] (-1)^popcount(m & k). N log2 N additions; one reading and one writing a cache level.
#pragma once

#include <cstdint>

namespace gossamer::walsh {

struct Shape {
    std::int64_t outer;
    int levels;
    std::int64_t inner;
};

template <class Real>
using Transform = void (*)(const Real* from, Real* to, Shape shape, Real scale, int threads); // from may be to

struct Table {
    Transform<float> float32;
    Transform<double> float64;
    Transform<std::uint32_t> int32; // two's complement: sums wrap around
    Transform<std::uint64_t> int64;
};

extern const Table portable_table, avx2_table, avx512_table, neon_table;

} // namespace gossamer::walsh
