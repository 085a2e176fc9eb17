// Sets of vectors: their fixed dimensional encodings, and sums of best inner products between them.
#pragma once

#include <cstdint>

namespace gossamer::maxsim {

enum class Stored : int { float32, float16, bfloat16 };

struct Sets { // set s is the rows offsets[s] .. offsets[s + 1] of `vectors`; none is empty, offsets are checked in Python
    const void* vectors;
    Stored stored;
    const std::int64_t* offsets;
    std::int64_t count, dim;
};

struct Encoding {
    std::int64_t reps, bits, width; // 2^bits cells of `width` numbers a repetition
    const float* directions;        // (dim, columns), columns reps * bits rounded up to 16; unread for bits = 0
    const float* thresholds;        // (reps * bits): the bit is set if the inner product is above
    const float* projection;        // (reps, dim, width); null: the identity
    const std::int32_t* places;     // (reps, cells, width): where an entry is added, ~place to subtract it; null: nowhere
    std::int64_t out_width;         // of a row of the result
    bool mean, fill;                // documents: means of cells; empty ones hold the nearest vector
};

struct Tasks { // task t scores the documents pairs[first[t] .. last[t]] for a query
    const std::int64_t *query, *first, *last;
    std::int64_t count;
    const std::int64_t* pairs;
};

struct Table {
    // out (sets.count, out_width)
    void (*encode)(const Sets&, const Encoding&, float* out, int threads);
    // out[p] = sum over the query's rows q of max over rows d of document pairs[p] of <q, d>; queries are float32
    void (*chamfer)(const Sets& queries, const Sets& documents, const Tasks&, float* out, int threads);
};

extern const Table portable_table, avx2_table, avx512_table, neon_table;

} // namespace gossamer::maxsim
