// The largest positive entries of a row-major matrix: by row, by column, of all, or by row in the order of a score.
// Bytes: one pass over the matrix (two for scores); flops: a compare an entry, log k for each that enters a heap.
#pragma once

#include <cstdint>

namespace gossamer::topk {

// What is kept of each line (a row, or a column for `columns`), ascending within it; the caller says where lines begin.
template <class Real>
struct Lines {
    std::int32_t* index;
    Real* value;
    std::int64_t* held; // how many of its places a line fills
};

struct Score { // value * (base + weight * |slope| / scale), or max(0, -slope) for |slope|
    double base, weight;
    double scale; // 0: the mean of the row; negative: by value alone, as for rows whose slopes are all 0
    double clip;  // largest |slope| that counts
    bool against; // only slopes below 0 count
};

template <class Real>
struct Entry {
    // Row r writes from place r * k on.
    void (*rows)(const Real* z, std::int64_t n, std::int64_t f, std::int64_t k, const Lines<Real>& out, int threads);
    // Column j has the places room[j] .. room[j + 1].
    void (*columns)(const Real* z, std::int64_t n, std::int64_t f, const std::int64_t* room, const Lines<Real>& out,
                    int threads);
    void (*scored)(const Real* z, const Real* slope, std::int64_t n, std::int64_t f, std::int64_t k, const Score& score,
                   const Lines<Real>& out, int threads);
    // Entries above a bound, one bound a column: how many a row has, then where they are.
    void (*count_above)(const Real* z, std::int64_t n, std::int64_t f, const Real* bound, std::int64_t* held, int threads);
    void (*fill_above)(const Real* z, std::int64_t n, std::int64_t f, const Real* bound, const std::int64_t* start,
                       std::int32_t* index, Real* value, int threads);
};

struct Table {
    Entry<float> float32;
    Entry<double> float64;
};

extern const Table portable_table, avx2_table, avx512_table, neon_table;

} // namespace gossamer::topk
