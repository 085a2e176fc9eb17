// The best items of a sequence, in a bounded heap, and the pass over an array that feeds it.
#pragma once

#include "simd.hpp"

namespace gossamer::inline GOSSAMER_ISA {

template <class Real>
struct Item {
    Real key;
    std::int32_t at;
};

// Of equal keys the first comes first.
template <class Real>
GOSSAMER_INLINE bool worse(const Item<Real>& a, const Item<Real>& b) {
    return a.key < b.key || (a.key == b.key && a.at > b.at);
}

// The `size` best items seen so far, the worst of them on top. Items come in ascending order of `at`, so one that equals
// the worst never replaces it.
template <class Real>
struct Heap {
    Item<Real>* items;
    std::int64_t size, held = 0;

    // What an item must exceed to enter.
    Real bar() const { return held < size ? Real(0) : items[0].key; }

    void push(Item<Real> item) {
        if (held < size) {
            std::int64_t i = held++;
            for (; i > 0 && worse(item, items[(i - 1) / 2]); i = (i - 1) / 2) items[i] = items[(i - 1) / 2];
            items[i] = item;
            return;
        }
        drop(0, item, held, [](const Item<Real>& a, const Item<Real>& b) { return worse(a, b); });
    }

    void value_of(const Real* line) {
        for (std::int64_t i = 0; i < held; ++i) items[i].key = line[items[i].at];
    }

    // Ascending in `at`, by a heap sort, which needs no memory; the heap is gone then.
    void write(std::int32_t* index, Real* value) {
        const auto later = [](const Item<Real>& a, const Item<Real>& b) { return a.at > b.at; };
        for (std::int64_t i = held / 2 - 1; i >= 0; --i) drop(i, items[i], held, later);
        for (std::int64_t end = held - 1; end > 0; --end) {
            const Item<Real> last = items[end];
            items[end] = items[0];
            drop(0, last, end, later);
        }
        for (std::int64_t i = 0; i < held; ++i) {
            index[i] = items[i].at;
            value[i] = items[i].key;
        }
    }

    // By key, the best first; the heap is gone then.
    void sort() {
        const auto weaker = [](const Item<Real>& a, const Item<Real>& b) { return worse(a, b); };
        for (std::int64_t end = held - 1; end > 0; --end) {
            const Item<Real> last = items[end];
            items[end] = items[0];
            drop(0, last, end, weaker);
        }
    }

    template <class Before>
    void drop(std::int64_t i, Item<Real> item, std::int64_t count, const Before& before) {
        for (;;) {
            std::int64_t child = 2 * i + 1;
            if (child >= count) break;
            if (child + 1 < count && before(items[child + 1], items[child])) ++child;
            if (!before(items[child], item)) break;
            items[i] = items[child];
            i = child;
        }
        items[i] = item;
    }
};

// Calls visit(i) for i in [0, count) with z[i] > bar(), which may rise on the way.
template <class Real, class Bar, class Visit>
GOSSAMER_INLINE void scan(const Real* z, std::int64_t count, const Bar& bar, const Visit& visit) {
    using V = simd<Real>;
    std::int64_t i = 0;
    for (; i + 4 * V::width <= count; i += 4 * V::width) {
        auto top = V::load(z + i);
        for (int v = 1; v < 4; ++v) {
            const auto next = V::load(z + i + v * V::width);
            top = next > top ? next : top;
        }
        Real largest = top[0];
        for (int lane = 1; lane < V::width; ++lane) largest = most(largest, top[lane]);
        if (!(largest > bar())) continue;
        for (std::int64_t j = i; j < i + 4 * V::width; ++j)
            if (z[j] > bar()) visit(j);
    }
    for (; i < count; ++i)
        if (z[i] > bar()) visit(i);
}

} // namespace gossamer::inline GOSSAMER_ISA
