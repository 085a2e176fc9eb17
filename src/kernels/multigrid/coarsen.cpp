#include "multigrid.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

namespace gossamer::multigrid {
namespace {

// Rows of neighbours in the order of their weights, sorted when a vertex is turned away for the first time: a vertex
// that was refused stays refused, so that each row is walked once.
template <class Index>
class Preferences {
public:
    Preferences(const Csr<Index>& a, const double* weight)
        : a_(a), weight_(weight), order_(new Index[static_cast<std::size_t>(a.indptr[a.n])]),
          next_(static_cast<std::size_t>(a.n), Index{-2}) {}

    // The heaviest edge of `vertex` for which accepts(neighbour, weight); its place, or -1.
    template <class Accepts>
    Index best(std::int64_t vertex, const Accepts& accepts) {
        const Index from = a_.indptr[vertex], to = a_.indptr[vertex + 1];
        Index& next = next_[vertex];
        if (next == -2) {
            next = -1;
            Index found = -1;
            for (Index k = from; k < to; ++k)
                if (a_.indices[k] != vertex && (found < 0 || weight_[k] > weight_[found]) &&
                    accepts(a_.indices[k], weight_[k]))
                    found = k;
            return found;
        }
        if (next == -1) {
            for (Index k = from; k < to; ++k) order_[k] = k;
            std::sort(order_.get() + from, order_.get() + to, [this](Index k, Index l) {
                return weight_[k] > weight_[l] || (weight_[k] == weight_[l] && a_.indices[k] < a_.indices[l]);
            });
            next = from;
        }
        for (; next < to; ++next) {
            const Index k = order_[next];
            if (a_.indices[k] != vertex && accepts(a_.indices[k], weight_[k])) return k;
        }
        return -1;
    }

private:
    const Csr<Index>& a_;
    const double* weight_;
    std::unique_ptr<Index[]> order_;
    std::vector<Index> next_; // a place in order_; -1: not sorted yet; -2: has not asked anybody yet
};

} // namespace

template <class Index>
std::int64_t compatibility(const Csr<Index>& a, const double* w, double* weight) {
    constexpr double epsilon = std::numeric_limits<double>::epsilon();
    std::vector<double> energy(static_cast<std::size_t>(a.n));
    std::vector<Index> below(a.indptr, a.indptr + a.n); // rows come in order, and so do their mirror images in a row
    for (std::int64_t i = 0; i < a.n; ++i) energy[i] = a.data[a.middle[i]] * w[i] * w[i];
    for (std::int64_t i = 0; i < a.n; ++i) {
        if (below[i] != a.middle[i]) return i;
        weight[a.middle[i]] = 0;
        for (Index k = a.middle[i] + 1; k < a.indptr[i + 1]; ++k) {
            const Index j = a.indices[k], mirror = below[j]++;
            if (mirror >= a.middle[j] || a.indices[mirror] != i) return i;
            const double both = energy[i] + energy[j];
            const double c = both > epsilon ? std::abs(1 - 2 * a.data[k] * w[i] * w[j] / both) : epsilon;
            weight[k] = weight[mirror] = c;
        }
    }
    return -1;
}

template <class Index>
void match(const Csr<Index>& a, const double* weight, Index* mate) {
    Preferences<Index> preferences(a, weight);
    std::vector<double> offer(static_cast<std::size_t>(a.n), -1.0); // of the suitor that a vertex has
    std::fill(mate, mate + a.n, Index{-1});
    for (std::int64_t first = 0; first < a.n; ++first)
        for (std::int64_t vertex = first; vertex >= 0;) {
            const Index k = preferences.best(vertex, [&](Index other, double value) {
                return value > offer[other] || (value == offer[other] && vertex < mate[other]);
            });
            if (k < 0) break;
            const Index other = a.indices[k], turned_away = mate[other];
            mate[other] = static_cast<Index>(vertex);
            offer[other] = weight[k];
            vertex = turned_away;
        }
}

template <class Index>
Coarse<Index> galerkin(const Csr<Index>& a, const Index* group, const double* p, std::int64_t groups) {
    const auto size = static_cast<std::size_t>(groups);
    std::vector<Index> start(size + 1), member(static_cast<std::size_t>(a.n));
    for (std::int64_t i = 0; i < a.n; ++i)
        if (group[i] >= 0) ++start[group[i] + 1];
    for (std::size_t g = 0; g < size; ++g) start[g + 1] += start[g];
    std::vector<Index> fill(start.begin(), start.end() - 1);
    for (std::int64_t i = 0; i < a.n; ++i)
        if (group[i] >= 0) member[fill[group[i]]++] = static_cast<Index>(i);

    // the diagonal and what is above it, unsorted
    std::vector<double> diagonal(size), value;
    std::vector<Index> column, upper(size + 1), place(size, -1), lower(size);
    column.reserve(static_cast<std::size_t>(a.indptr[a.n]) / 2);
    value.reserve(column.capacity());
    for (Index g = 0; g < groups; ++g) {
        for (Index m = start[g]; m < start[g + 1]; ++m) {
            const Index i = member[m];
            for (Index k = a.indptr[i]; k < a.indptr[i + 1]; ++k) {
                const Index h = group[a.indices[k]];
                if (h < g) continue;
                const double entry = p[i] * a.data[k] * p[a.indices[k]];
                if (h == g) {
                    diagonal[g] += entry;
                } else if (place[h] < upper[g]) {
                    place[h] = static_cast<Index>(column.size());
                    column.push_back(h);
                    value.push_back(entry);
                    ++lower[h];
                } else {
                    value[place[h]] += entry;
                }
            }
        }
        upper[g + 1] = static_cast<Index>(column.size());
    }

    Coarse<Index> c;
    c.indptr.resize(size + 1);
    for (std::size_t g = 0; g < size; ++g) c.indptr[g + 1] = c.indptr[g] + lower[g] + 1 + upper[g + 1] - upper[g];
    c.indices.resize(static_cast<std::size_t>(c.indptr[size]));
    c.data.resize(c.indices.size());
    std::copy(c.indptr.begin(), c.indptr.end() - 1, fill.begin());
    for (Index g = 0; g < groups; ++g) // below the diagonal rows come in order
        for (Index k = upper[g]; k < upper[g + 1]; ++k) {
            const Index to = fill[column[k]]++;
            c.indices[to] = g;
            c.data[to] = value[k];
        }
    for (Index g = 0; g < groups; ++g) {
        const Index middle = fill[g]++;
        c.indices[middle] = g;
        c.data[middle] = diagonal[g];
        for (Index k = c.indptr[g]; k < middle; ++k) { // its mirror image, in order as well
            const Index to = fill[c.indices[k]]++;
            c.indices[to] = g;
            c.data[to] = c.data[k];
        }
    }
    return c;
}

#define GOSSAMER_INSTANCES(Index)                                                                  \
    template std::int64_t compatibility(const Csr<Index>&, const double*, double*);               \
    template void match(const Csr<Index>&, const double*, Index*);                                \
    template Coarse<Index> galerkin(const Csr<Index>&, const Index*, const double*, std::int64_t);
GOSSAMER_INSTANCES(std::int32_t)
GOSSAMER_INSTANCES(std::int64_t)

} // namespace gossamer::multigrid
