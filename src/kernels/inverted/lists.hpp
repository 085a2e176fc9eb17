// What a search reads of a token: its postings, bounds of their contributions, and the way to the next document.
#pragma once

#include "../dispatch/heap.hpp"
#include "inverted.hpp"

namespace gossamer::inverted {
inline namespace GOSSAMER_ISA {

GOSSAMER_INLINE float value_of(float weight) { return weight; }
GOSSAMER_INLINE float value_of(std::uint16_t weight) { return to_float(weight); }
GOSSAMER_INLINE float value_of(std::uint8_t weight) { return static_cast<float>(weight); }

template <class Weight>
struct List {
    const std::uint16_t *document, *block_last;
    const Weight* weight;
    const float* block_most;
    std::int64_t count, blocks, block;
    float factor;          // of a weight as stored
    float bound;           // the largest contribution
    std::int64_t near = 0; // the block in which the search is

    float contribution(std::int64_t i) const { return factor * value_of(weight[i]); }

    // Moves on to the block in which documents from d on begin; `blocks` where there are none.
    void reach(std::int64_t d) {
        while (near < blocks && block_last[near] < d) ++near;
    }

    // The first posting of a document from d on, `count` where there is none.
    std::int64_t seek(std::int64_t d) {
        reach(d);
        if (near == blocks) return count;
        const std::int64_t from = near * block;
        const std::uint16_t* p = document + from;
        for (std::int64_t left = least(block, count - from); left > 1;) {
            const std::int64_t half = left / 2;
            p += p[half - 1] < d ? half : 0;
            left -= half;
        }
        return (p - document) + (*p < d ? 1 : 0);
    }

    // No document of [now, end), now where the search is, gets more than this.
    float bound_before(std::int64_t end) const {
        float top = 0;
        for (std::int64_t b = near; b < blocks && document[b * block] < end; ++b) top = most(top, block_most[b]);
        return factor * top;
    }

    // sums[d - first] += contribution for the postings [from, to)
    void add(std::int64_t from, std::int64_t to, std::int64_t first, float* sums) const {
        constexpr std::int64_t step = 128;
        float part[step];
        sums -= first;
        for (; from < to; from += step) {
            const std::int64_t n = least(step, to - from);
            for (std::int64_t i = 0; i < n; ++i) part[i] = contribution(from + i);
            for (std::int64_t i = 0; i < n; ++i) sums[document[from + i]] += part[i];
        }
    }
};

// The best documents so far, and a bar that may lie above the worst of them.
struct Hits {
    Heap<float> heap;
    float floor; // so many documents score above it that the heap will be full

    float bar() const { return most(heap.bar(), floor); }
    void offer(float score, std::int64_t id) {
        if (score > bar()) heap.push({score, static_cast<std::int32_t>(id)});
    }
};

// The float before a positive one; 0 for 0.
GOSSAMER_INLINE float below(float x) {
    std::uint32_t bits;
    std::memcpy(&bits, &x, 4);
    bits -= bits ? 1 : 0;
    std::memcpy(&x, &bits, 4);
    return x;
}

// Sums of floats exceed those of their bounds by rounding: by so much at most.
GOSSAMER_INLINE double rounding(std::int64_t terms) { return 1 + 1.2e-7 * static_cast<double>(terms + 2); }

// The lists of a query in the order in which every method adds: the largest bound first.
template <class Weight>
std::int64_t gather(const Segment<Weight>& s, const Queries& q, std::int64_t query, std::int64_t k, List<Weight>* lists,
                    float& floor) {
    std::int64_t m = 0;
    int rank = 0;
    while (rank < seeds && seed_ranks[rank] < k) ++rank;
    for (std::int64_t i = q.start[query]; i < q.start[query + 1]; ++i) {
        const std::int64_t t = q.token[i], from = s.start[t], blocks = s.block_start[t];
        List<Weight> list{s.document + from, s.block_last + blocks, s.weight + from, s.block_most + blocks,
                          s.start[t + 1] - from, s.block_start[t + 1] - blocks, s.block, q.weight[i] * s.scale[t], 0};
        list.bound = list.factor * s.seed[t * seeds];
        if (!(list.bound > 0)) continue;
        if (rank < seeds) floor = most(floor, below(list.factor * s.seed[t * seeds + rank]));
        std::int64_t at = m++;
        for (; at > 0 && lists[at - 1].bound < list.bound; --at) lists[at] = lists[at - 1];
        lists[at] = list;
    }
    return m;
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::inverted
