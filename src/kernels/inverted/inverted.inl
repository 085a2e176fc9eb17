// The one template of the family; each <isa>.cpp includes it and exports its table. The three searches add the
// contributions of a document in the same order, without fused products: they find the same documents with the same bits.
#include "../dispatch/parallel.hpp"
#include "../dispatch/scratch.hpp"
#include "lists.hpp"

namespace gossamer::inverted {
inline namespace GOSSAMER_ISA {

inline constexpr std::int64_t window = 4096; // sums in the first-level cache

// Term at a time: every posting of every token.
template <class Weight>
void taat(const List<Weight>* lists, std::int64_t m, std::int64_t documents, float* sums, Hits& hits, std::int64_t first) {
    std::memset(sums, 0, static_cast<std::size_t>(documents) * sizeof(float));
    for (std::int64_t t = 0; t < m; ++t) lists[t].add(0, lists[t].count, 0, sums);
    scan(sums, documents, [&] { return hits.bar(); }, [&](std::int64_t d) { hits.offer(sums[d], first + d); });
}

// Windows of documents. In each, the lists that together cannot lift a document over the bar are asked only about those
// that the other lists brought close to it.
template <class Weight>
void maxscore(List<Weight>* lists, std::int64_t m, std::int64_t documents, float* sums, double* rest, Hits& hits,
              std::int64_t first) {
    const double guard = rounding(m);
    for (std::int64_t low = 0; low < documents; low += window) {
        const std::int64_t high = least(documents, low + window);
        rest[m] = 0; // rest[t]: what lists t and on can give together
        for (std::int64_t t = m - 1; t >= 0; --t) {
            lists[t].reach(low);
            rest[t] = rest[t + 1] + static_cast<double>(lists[t].bound_before(high));
        }
        std::int64_t needed = m;
        while (needed > 0 && rest[needed - 1] * guard <= static_cast<double>(hits.bar())) --needed;
        if (needed == 0) continue;
        std::memset(sums, 0, static_cast<std::size_t>(high - low) * sizeof(float));
        for (std::int64_t t = 0; t < needed; ++t) {
            const std::int64_t from = lists[t].seek(low);
            lists[t].add(from, lists[t].seek(high), low, sums);
        }
        // no document whose sum so far is at most `cut` comes over the bar
        const auto cut_at = [&](float bar) {
            const double exact = static_cast<double>(bar) / guard - rest[needed];
            if (!(exact > 0)) return 0.0f;
            const auto near = static_cast<float>(exact);
            return static_cast<double>(near) > exact ? below(near) : near;
        };
        float bar = hits.bar(), cut = cut_at(bar);
        scan(sums, high - low, [&] { return cut; }, [&](std::int64_t at) {
            const std::int64_t d = low + at;
            float score = sums[at];
            for (std::int64_t t = needed; t < m; ++t) {
                if ((static_cast<double>(score) + rest[t]) * guard <= static_cast<double>(bar)) return;
                List<Weight>& list = lists[t];
                list.reach(d);
                if (list.near == list.blocks) continue;
                const double here = static_cast<double>(list.factor * list.block_most[list.near]);
                if ((static_cast<double>(score) + here + rest[t + 1]) * guard <= static_cast<double>(bar)) return;
                const std::int64_t i = list.seek(d);
                if (list.document[i] == d) score += list.contribution(i);
            }
            hits.offer(score, first + d);
            if (hits.bar() > bar) cut = cut_at(bar = hits.bar());
        });
    }
}

// Document at a time, by block-max WAND: the pivot is the first document that the bounds of whole lists do not exclude;
// the bounds of the blocks around it decide whether it is looked at.
template <class Weight>
void bmw(List<Weight>* lists, std::int64_t m, std::int64_t* document, std::int64_t* at, std::int64_t* order, Hits& hits,
         std::int64_t first) {
    constexpr std::int64_t end = most_documents;
    const double guard = rounding(m);
    const auto move = [&](std::int64_t t, std::int64_t d) {
        at[t] = lists[t].seek(d);
        document[t] = at[t] < lists[t].count ? lists[t].document[at[t]] : end;
    };
    for (std::int64_t t = 0; t < m; ++t) move(order[t] = t, 0);
    for (;;) {
        for (std::int64_t i = 1; i < m; ++i) { // nearly in order already
            const std::int64_t t = order[i];
            std::int64_t j = i;
            for (; j > 0 && document[order[j - 1]] > document[t]; --j) order[j] = order[j - 1];
            order[j] = t;
        }
        const auto bar = static_cast<double>(hits.bar());
        double sum = 0;
        std::int64_t p = 0;
        for (; p < m && document[order[p]] < end; ++p)
            if ((sum += static_cast<double>(lists[order[p]].bound)) * guard > bar) break;
        if (p == m || document[order[p]] == end) return;
        const std::int64_t pivot = document[order[p]];
        while (p + 1 < m && document[order[p + 1]] == pivot) ++p;
        std::int64_t next = p + 1 < m ? document[order[p + 1]] : end;
        double here = 0;
        for (std::int64_t i = 0; i <= p; ++i) {
            List<Weight>& list = lists[order[i]];
            list.reach(pivot);
            if (list.near == list.blocks) continue;
            here += static_cast<double>(list.factor * list.block_most[list.near]);
            next = least<std::int64_t>(next, list.block_last[list.near] + 1);
        }
        if (here * guard <= bar) {
            for (std::int64_t i = 0; i <= p; ++i) move(order[i], next);
        } else if (document[order[0]] == pivot) {
            float score = 0;
            for (std::int64_t t = 0; t < m; ++t)
                if (document[t] == pivot) score += lists[t].contribution(at[t]);
            hits.offer(score, first + pivot);
            for (std::int64_t i = 0; i <= p; ++i) move(order[i], pivot + 1);
        } else {
            for (std::int64_t i = 0; document[order[i]] < pivot; ++i) move(order[i], pivot);
        }
    }
}

template <class Weight>
void search(const Segment<Weight>& segment, const Queries& queries, Method method, std::int64_t first, const Best& best,
            int threads) {
    std::int64_t longest = 0, work = 0;
    for (std::int64_t q = 0; q < queries.count; ++q) {
        longest = most(longest, queries.start[q + 1] - queries.start[q]);
        for (std::int64_t i = queries.start[q]; i < queries.start[q + 1]; ++i)
            work += segment.start[queries.token[i] + 1] - segment.start[queries.token[i]];
    }
    constexpr auto word = static_cast<std::int64_t>(sizeof(std::int64_t));
    const std::int64_t room = method == Method::taat ? segment.documents : window;
    const std::int64_t sums = round_up(room * static_cast<std::int64_t>(sizeof(float)), 64);
    const std::int64_t lists = round_up(longest * static_cast<std::int64_t>(sizeof(List<Weight>)), 64);
    threads = static_cast<int>(least<std::int64_t>(worthwhile_threads(work, threads), most<std::int64_t>(1, queries.count)));
    const Scratch scratch(sums + lists + 3 * (longest + 1) * word, threads);
    parallel_chunks_by_thread(queries.count, threads, [&](std::int64_t q, int thread) {
        std::byte* part = scratch.part(thread);
        auto* sum = reinterpret_cast<float*>(part);
        auto* list = reinterpret_cast<List<Weight>*>(part + sums);
        auto* places = reinterpret_cast<std::int64_t*>(part + sums + lists);
        auto* items = static_cast<Item<float>*>(best.items) + q * best.k;
        Hits hits{{items, best.k, best.held[q]}, 0};
        const std::int64_t m = gather(segment, queries, q, best.k, list, hits.floor);
        if (m == 0) return;
        if (method == Method::taat)
            taat(list, m, segment.documents, sum, hits, first);
        else if (method == Method::maxscore)
            maxscore(list, m, segment.documents, sum, reinterpret_cast<double*>(places), hits, first);
        else
            bmw(list, m, places, places + m, places + 2 * m, hits, first);
        best.held[q] = hits.heap.held;
    });
}

// Weights in 256 steps below the largest: the least of so many steps that `rank` weights lie in them is a seed.
template <class Weight>
void seeds_of(const Weight* weight, std::int64_t count, float top, float* seed) {
    float lowest[256];
    std::int64_t held[256] = {};
    const float steps = 255 / top;
    for (std::int64_t i = 0; i < count; ++i) {
        const float value = value_of(weight[i]);
        const int step = static_cast<int>(value * steps) & 255;
        lowest[step] = held[step]++ ? least(lowest[step], value) : value;
    }
    std::int64_t seen = 0;
    float bottom = seed[0] = top;
    int rank = 1;
    for (int step = 255; step >= 0 && rank < seeds; --step) {
        if (!held[step]) continue;
        seen += held[step];
        bottom = least(bottom, lowest[step]);
        for (; rank < seeds && seen >= seed_ranks[rank]; ++rank) seed[rank] = bottom;
    }
}

template <class Weight>
void bound(const Segment<Weight>& s, std::uint16_t* block_last, float* block_most, float* seed) {
    for (std::int64_t t = 0; t < s.vocabulary; ++t) {
        float top = 0;
        std::int64_t b = s.block_start[t];
        for (std::int64_t from = s.start[t]; from < s.start[t + 1]; from += s.block, ++b) {
            const std::int64_t to = least(from + s.block, s.start[t + 1]);
            float largest = 0;
            for (std::int64_t i = from; i < to; ++i) largest = most(largest, value_of(s.weight[i]));
            block_last[b] = s.document[to - 1];
            block_most[b] = largest;
            top = most(top, largest);
        }
        for (int rank = 0; rank < seeds; ++rank) seed[t * seeds + rank] = 0;
        if (top > 0) seeds_of(s.weight + s.start[t], s.start[t + 1] - s.start[t], top, seed + t * seeds);
    }
}

// A counting sort: how many postings a token has, where they begin, and each to its place.
inline void invert(std::int64_t documents, std::int64_t vocabulary, const std::int64_t* row, const std::int32_t* token,
                   const float* weight, std::int64_t* start, std::uint16_t* document, float* value, float* largest) {
    for (std::int64_t t = 0; t <= vocabulary; ++t) start[t] = 0;
    for (std::int64_t t = 0; t < vocabulary; ++t) largest[t] = 0;
    const std::int64_t from = row[0];
    for (std::int64_t i = from; i < row[documents]; ++i) {
        ++start[token[i] + 1];
        largest[token[i]] = most(largest[token[i]], weight[i]);
    }
    for (std::int64_t t = 0; t < vocabulary; ++t) start[t + 1] += start[t];
    for (std::int64_t d = 0; d < documents; ++d)
        for (std::int64_t i = row[d]; i < row[d + 1]; ++i) {
            const std::int64_t at = start[token[i]]++;
            document[at] = static_cast<std::uint16_t>(d);
            value[at] = weight[i];
        }
    for (std::int64_t t = vocabulary; t > 0; --t) start[t] = start[t - 1]; // each was moved to the end of its list
    start[0] = 0;
}

inline void finish(std::int64_t queries, const Best& best, std::int64_t* id, float* score) {
    for (std::int64_t q = 0; q < queries; ++q) {
        auto* items = static_cast<Item<float>*>(best.items) + q * best.k;
        Heap<float> heap{items, best.k, best.held[q]};
        heap.sort();
        for (std::int64_t i = 0; i < best.k; ++i) {
            const bool there = i < heap.held;
            id[q * best.k + i] = there ? items[i].at : -1;
            score[q * best.k + i] = there ? items[i].key : 0;
        }
    }
}

template <class Weight>
inline constexpr Entry<Weight> entry{search<Weight>, bound<Weight>};

inline constexpr Table kernels{entry<float>, entry<std::uint16_t>, entry<std::uint8_t>, invert, finish};

} // namespace GOSSAMER_ISA
} // namespace gossamer::inverted
