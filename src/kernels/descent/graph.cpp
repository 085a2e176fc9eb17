#include "graph.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

namespace gossamer::descent {
namespace {

// Keys that ascend as scores descend; NaN does not come here.
std::uint64_t descending(double score) {
    std::uint64_t bits;
    score += 0.0; // -0 is 0
    std::memcpy(&bits, &score, 8);
    return bits >> 63 ? bits : ~(bits | (std::uint64_t{1} << 63));
}

struct Keyed {
    std::uint64_t key;
    std::int64_t id;
};

// Ids by decreasing score, equal ones ascending: radix sort, 11 bits at a time, passes that change nothing left out.
std::vector<Keyed> sorted(const double* score, std::int64_t n) {
    constexpr int bits = 11, passes = 6;
    constexpr std::size_t buckets = std::size_t{1} << bits;
    std::vector<Keyed> from(static_cast<std::size_t>(n)), to(from.size());
    std::vector<std::int64_t> counts(passes * buckets);
    for (std::int64_t i = 0; i < n; ++i) {
        from[i] = {descending(score[i]), i};
        for (int p = 0; p < passes; ++p) ++counts[p * buckets + (from[i].key >> (p * bits) & (buckets - 1))];
    }
    for (int p = 0; p < passes; ++p) {
        std::int64_t* count = counts.data() + p * buckets;
        if (n && count[from[0].key >> (p * bits) & (buckets - 1)] == n) continue;
        std::exclusive_scan(count, count + buckets, count, std::int64_t{0});
        for (const Keyed& item : from) to[count[item.key >> (p * bits) & (buckets - 1)]++] = item;
        from.swap(to);
    }
    return from;
}

// Trees as sets: union by size, path halving. parent < 0: not in the forest.
class Trees {
public:
    explicit Trees(std::int64_t nodes) : parent_(static_cast<std::size_t>(nodes), -1), size_(parent_.size(), 1) {}
    bool has(std::int64_t i) const { return parent_[i] >= 0; }

    // Adds a node whose neighbours lie in different trees; false, with nothing done, if two share one.
    template <class Index>
    bool add(const Graph<Index>& g, std::int64_t node) {
        roots_.clear();
        for (std::int64_t e = g.start[node]; e < g.start[node + 1]; ++e) {
            const std::int64_t other = g.index[e];
            if (other != node && has(other)) roots_.push_back(root(other));
        }
        std::sort(roots_.begin(), roots_.end());
        if (std::adjacent_find(roots_.begin(), roots_.end()) != roots_.end()) return false;
        parent_[node] = node;
        std::int64_t top = node;
        for (std::int64_t r : roots_) {
            if (size_[r] > size_[top]) std::swap(r, top);
            parent_[r] = top;
            size_[top] += size_[r];
        }
        return true;
    }

private:
    std::int64_t root(std::int64_t i) {
        while (parent_[i] != i) i = parent_[i] = parent_[parent_[i]];
        return i;
    }
    std::vector<std::int64_t> parent_, size_, roots_;
};

} // namespace

template <class Index>
std::int64_t greedy_forest(const Graph<Index>& g, const double* score, std::int64_t* out) {
    Trees trees(g.nodes);
    for (const Keyed& item : sorted(score, g.nodes)) trees.add(g, item.id);
    std::int64_t count = 0;
    for (std::int64_t i = 0; i < g.nodes; ++i)
        if (trees.has(i)) out[count++] = i;
    return count;
}

template <class Index>
std::int64_t forests(const Graph<Index>& g, const std::int64_t* order, std::int64_t* label) {
    std::vector<Trees> all;
    for (std::int64_t k = 0; k < g.nodes; ++k) {
        const std::int64_t node = order[k];
        std::size_t f = 0;
        while (f < all.size() && !all[f].add(g, node)) ++f;
        if (f == all.size()) all.emplace_back(g.nodes).add(g, node);
        label[node] = static_cast<std::int64_t>(f);
    }
    return static_cast<std::int64_t>(all.size());
}

template <class Index>
std::int64_t colours(const Graph<Index>& g, const std::int64_t* order, std::int64_t* label) {
    std::vector<std::int64_t> used, seen; // how often a colour is used, and the node that saw it last at a neighbour
    std::fill(label, label + g.nodes, -1);
    for (std::int64_t k = 0; k < g.nodes; ++k) {
        const std::int64_t node = order[k];
        for (std::int64_t e = g.start[node]; e < g.start[node + 1]; ++e)
            if (g.index[e] != node && label[g.index[e]] >= 0) seen[label[g.index[e]]] = node;
        std::int64_t best = -1;
        for (std::size_t c = 0; c < used.size(); ++c)
            if (seen[c] != node && (best < 0 || used[c] < used[best])) best = static_cast<std::int64_t>(c);
        if (best < 0) {
            best = static_cast<std::int64_t>(used.size());
            used.push_back(0);
            seen.push_back(-1);
        }
        ++used[best];
        label[node] = best;
    }
    return static_cast<std::int64_t>(used.size());
}

template <class Index>
Elimination eliminate(const Graph<Index>& g, const double* value, const std::int64_t* b, std::int64_t count,
                      const double* rhs, double* x, std::int64_t* place, std::int64_t& where) {
    // order: parents before children; up: place of the parent in it, -1 for a root; link: the entry between the two
    std::vector<std::int64_t> order, up(static_cast<std::size_t>(count), -1), spot(static_cast<std::size_t>(count), -1);
    std::vector<double> link(static_cast<std::size_t>(count)), pivot(static_cast<std::size_t>(count));
    order.reserve(static_cast<std::size_t>(count));
    for (std::int64_t k = 0; k < count; ++k) place[b[k]] = k;
    Elimination outcome = Elimination::solved;
    for (std::int64_t k = 0; k < count && outcome == Elimination::solved; ++k) {
        if (spot[k] >= 0) continue;
        spot[k] = static_cast<std::int64_t>(order.size());
        order.push_back(k);
        for (std::int64_t head = spot[k]; head < static_cast<std::int64_t>(order.size()); ++head) {
            const std::int64_t own = order[head], node = b[own];
            bool back = false; // the edge to the parent was met
            pivot[own] = 0;
            for (std::int64_t e = g.start[node]; e < g.start[node + 1]; ++e) {
                const std::int64_t other = place[g.index[e]];
                if (other < 0 || (value[e] == 0 && other != own)) continue;
                if (other == own) {
                    pivot[own] += value[e];
                } else if (spot[other] < 0) {
                    spot[other] = static_cast<std::int64_t>(order.size());
                    up[other] = own;
                    link[other] = value[e];
                    order.push_back(other);
                } else if (other == up[own] && !back) {
                    back = true;
                } else {
                    outcome = Elimination::cycle;
                    where = node;
                }
            }
        }
    }
    for (std::int64_t k = 0; k < count; ++k) place[b[k]] = -1;
    if (outcome != Elimination::solved) return outcome;
    for (std::int64_t k = 0; k < count; ++k) x[k] = rhs[k];
    for (std::int64_t s = count; s-- > 0;) { // leaves to roots
        const std::int64_t k = order[s];
        if (!(pivot[k] > 0)) {
            where = b[k];
            return Elimination::pivot;
        }
        if (up[k] < 0) continue;
        const double factor = link[k] / pivot[k];
        pivot[up[k]] -= link[k] * factor;
        x[up[k]] -= factor * x[k];
    }
    for (const std::int64_t k : order) x[k] = (up[k] < 0 ? x[k] : x[k] - link[k] * x[up[k]]) / pivot[k]; // and back
    return Elimination::solved;
}

void largest(const double* score, std::int64_t n, std::int64_t count, std::int64_t* out) {
    const auto before = [score](std::int64_t a, std::int64_t b) { // a better than b
        return score[a] > score[b] || (score[a] == score[b] && a < b);
    };
    if (count < 64 || count < n / 64) { // a heap whose top is the worst that was kept: most scores only meet that one
        std::iota(out, out + count, std::int64_t{0});
        std::make_heap(out, out + count, before);
        for (std::int64_t i = count; i < n && count; ++i) {
            if (!(score[i] > score[out[0]])) continue;
            std::pop_heap(out, out + count, before);
            out[count - 1] = i;
            std::push_heap(out, out + count, before);
        }
    } else {
        std::vector<std::int64_t> ids(static_cast<std::size_t>(n));
        std::iota(ids.begin(), ids.end(), std::int64_t{0});
        if (count < n) std::nth_element(ids.begin(), ids.begin() + count, ids.end(), before);
        std::copy(ids.begin(), ids.begin() + count, out);
    }
    std::sort(out, out + count);
}

#define GOSSAMER_GRAPHS(Index)                                                                                        \
    template std::int64_t greedy_forest(const Graph<Index>&, const double*, std::int64_t*);                           \
    template std::int64_t forests(const Graph<Index>&, const std::int64_t*, std::int64_t*);                           \
    template std::int64_t colours(const Graph<Index>&, const std::int64_t*, std::int64_t*);                           \
    template Elimination eliminate(const Graph<Index>&, const double*, const std::int64_t*, std::int64_t,             \
                                   const double*, double*, std::int64_t*, std::int64_t&);
GOSSAMER_GRAPHS(std::int32_t)
GOSSAMER_GRAPHS(std::int64_t)

} // namespace gossamer::descent
