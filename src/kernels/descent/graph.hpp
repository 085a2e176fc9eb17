// Blocks of a graph that are forests, and elimination on them. Bound by latency: one source for every instruction set.
#pragma once

#include <cstdint>

namespace gossamer::descent {

template <class Index>
struct Graph { // rows of a symmetric matrix; entries on the diagonal are no edges
    std::int64_t nodes;
    const Index* start;
    const Index* index;
};

// Nodes by decreasing score, each taken if its neighbours that were taken lie in different trees. Ascending ids to out.
template <class Index>
std::int64_t greedy_forest(const Graph<Index>&, const double* score, std::int64_t* out);

// label[i]: the first forest in which the neighbours of i lie in different trees; nodes come in `order`.
template <class Index>
std::int64_t forests(const Graph<Index>&, const std::int64_t* order, std::int64_t* label);

// label[i]: the least used colour that no neighbour has, else a new one.
template <class Index>
std::int64_t colours(const Graph<Index>&, const std::int64_t* order, std::int64_t* label);

enum class Elimination { solved, cycle, pivot };

// x = A_bb^{-1} rhs for ascending nodes b that induce a forest; `place` (all nodes) is filled with -1 and is so again
// after the call. `where` names the node that failed. O(entries of the rows of b).
template <class Index>
Elimination eliminate(const Graph<Index>&, const double* value, const std::int64_t* b, std::int64_t count,
                      const double* rhs, double* x, std::int64_t* place, std::int64_t& where);

// The `count` largest scores, the first of equal ones; ascending ids to out. O(n + count log count).
void largest(const double* score, std::int64_t n, std::int64_t count, std::int64_t* out);

} // namespace gossamer::descent
