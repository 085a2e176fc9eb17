// Postings of up to 65,536 documents by token, and the k best documents of queries. Bytes: 2 and those of a weight a
// posting that is read; flops: 2.
#pragma once

#include <cstdint>

namespace gossamer::inverted {

inline constexpr std::int64_t most_documents = 65536;

// So many weights of a token are at least its seeds: a search for k documents starts from one of them.
inline constexpr std::int64_t seed_ranks[] = {1, 10, 100, 1000};
inline constexpr int seeds = 4;

template <class Weight>
struct Segment { // a view; checked in Python before it comes here
    std::int64_t documents, vocabulary, block;
    const std::int64_t* start;       // (vocabulary + 1) postings of token t: start[t] .. start[t + 1]
    const std::uint16_t* document;   // ascending within a token
    const Weight* weight;            // as stored
    const float* scale;              // (vocabulary) what a stored weight is multiplied with
    const std::int64_t* block_start; // (vocabulary + 1) blocks of a token
    const std::uint16_t* block_last; // the last document of a block
    const float* block_most;         // its largest weight, as stored
    const float* seed;               // (vocabulary, seeds) as stored: the largest weight, and ones from below; 0: too few
};

struct Queries { // sparse rows with distinct tokens and positive weights
    std::int64_t count;
    const std::int64_t* start;
    const std::int32_t* token;
    const float* weight;
};

struct Best { // a heap of k items a query, which segments fill one after the other
    std::int64_t k;
    void* items; // (queries, k) of 8 bytes
    std::int64_t* held;
};

enum class Method { taat, maxscore, bmw };

template <class Weight>
struct Entry {
    // Ids are `first` and on.
    void (*search)(const Segment<Weight>& segment, const Queries& queries, Method method, std::int64_t first,
                   const Best& best, int threads);
    // block_last, block_most and seed from the postings
    void (*bound)(const Segment<Weight>& postings, std::uint16_t* block_last, float* block_most, float* seed);
};

// Rows of documents (sorted tokens) by token, and the largest weight of each.
using Invert = void (*)(std::int64_t documents, std::int64_t vocabulary, const std::int64_t* row,
                        const std::int32_t* token, const float* weight, std::int64_t* start, std::uint16_t* document,
                        float* value, float* largest);
// Heaps in order, the best first, -1 and 0 where there is none.
using Finish = void (*)(std::int64_t queries, const Best& best, std::int64_t* id, float* score);

struct Table {
    Entry<float> float32;
    Entry<std::uint16_t> float16; // raw bits
    Entry<std::uint8_t> uint8;
    Invert invert;
    Finish finish;
};

extern const Table portable_table, avx2_table, avx512_table, neon_table;

} // namespace gossamer::inverted
