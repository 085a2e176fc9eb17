// C = A B with all three in compressed rows. One job holds the views of every pass.
#pragma once

#include <cstdint>

namespace gossamer::spgemm {

enum Kind : std::uint8_t { empty, scale, repeat, small, merge, dense, hash, hash_vector, split, kinds };

inline constexpr std::int64_t repeat_limit = 256; // most products of a row whose places are remembered

template <class Index>
struct Job {
    std::int64_t rows, inner, cols;
    const Index *a_ptr, *a_col, *b_ptr, *b_col;
    const void *a_val, *b_val;
    const Index *mask_ptr, *mask_col; // null without a mask
    bool complement, b_sorted, sort, atomic;
    int threads, forced; // a Kind, or -1
    std::int64_t small_limit, dense_window, dense_ratio, split_share, split_floor;
    // of every row of B and of every row of C
    std::int64_t *first, *last;            // columns of B's rows: first and one past the last
    std::int64_t *fma, *low, *high, *bound; // products, window, upper bound of entries
    std::uint8_t* kind;
    std::int64_t* cuts; // tokens + 1
    std::int64_t tokens;
    std::int64_t widest, fullest; // windows of dense rows, bounds of hashed rows
    std::int64_t* count;          // entries of each row of C
    const std::int64_t* c_ptr;    // where each row of C begins, or
    const std::int64_t* starts;   // sums of bounds up to each token: rows follow one another (one phase)
    Index* c_col;
    void* c_val;
};

inline constexpr int operations = 16;

template <class Index>
struct Passes {
    bool (*inspect)(const Job<Index>&);  // first, last; whether every row of B ascends strictly
    void (*analyse)(Job<Index>&);        // fma, window, bound, kind, widest, fullest
    void (*symbolic)(Job<Index>&);       // count
    void (*numeric[operations])(Job<Index>&);
};

inline constexpr const char* names[operations] = {
    "plus_times_float32", "plus_times_float64", "plus_times_complex64", "plus_times_complex128",
    "plus_times_int32",   "plus_times_int64",   "min_plus_float32",     "min_plus_float64",
    "min_plus_int32",     "min_plus_int64",     "max_times_float32",    "max_times_float64",
    "max_times_int32",    "max_times_int64",    "or_and_bool",          "plus_pair_int64"};
inline constexpr int value_bytes[operations] = {4, 8, 8, 16, 4, 8, 4, 8, 4, 8, 4, 8, 4, 8, 1, 8};

using Table = Passes<std::int32_t>;
extern const Table portable_table, avx2_table, avx512_table, neon_table;
// 2^31 entries are bound by memory: one instruction set will do, and a third of the code is saved
extern const Passes<std::int64_t> wide_table;

} // namespace gossamer::spgemm
