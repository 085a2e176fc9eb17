// Which entries of a plan stay: buckets by size, narrowed until few entries are left to sort; then rows and columns of
// what stays.
#include "transport.hpp"

#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>

namespace gossamer::transport {
namespace {

constexpr std::int64_t few = 1024; // entries that may be sorted

std::uint64_t bits_of(double x) {
    std::uint64_t bits;
    std::memcpy(&bits, &x, 8);
    return bits;
}

int width_of(std::uint64_t x) { return x ? 64 - __builtin_clzll(x) : 0; }

// Buckets over [low, high)
Window window(std::uint64_t low, std::uint64_t high) {
    const int excess = width_of(high - low - 1) - 12;
    return {low, excess > 0 ? excess : 0};
}

struct Rule {
    std::int64_t least, most;
    double budget;
    bool keeps(std::int64_t rank, double tail) const { return rank < least || (rank < most && tail > budget); }
};

class Selection {
public:
    Selection(const Table& table, const Plan& plan, int threads)
        : table_(table), plan_(plan), threads_(threads), cut_(Cut::of(plan.cost.n, plan.cost.m)),
          tallies_(static_cast<std::size_t>(cut_.chunks)) {}

    void count(Window w) {
        window_ = w;
        table_.count(plan_, w, tallies_.data(), threads_);
    }

    std::int64_t entries(std::int64_t bucket) const {
        std::int64_t sum = 0;
        for (const Tally& tally : tallies_) sum += tally.count[bucket];
        return sum;
    }

    double mass(std::int64_t bucket) const {
        double sum = 0;
        for (const Tally& tally : tallies_) sum += tally.mass[bucket];
        return sum;
    }

    // All entries above `bucket`, and the first `share` of those in it, in the order of rows.
    Selected take(std::int64_t bucket, std::int64_t share) {
        std::vector<std::int64_t> start(tallies_.size() + 1, 0), quota(tallies_.size());
        for (std::size_t chunk = 0; chunk < tallies_.size(); ++chunk) {
            std::int64_t sum = 0;
            for (std::int64_t b = bucket + 1; b < Window::buckets + 2; ++b) sum += tallies_[chunk].count[b];
            quota[chunk] = std::min(share, tallies_[chunk].count[bucket]);
            share -= quota[chunk];
            start[chunk + 1] = start[chunk] + sum + quota[chunk];
        }
        Selected out;
        out.column.resize(static_cast<std::size_t>(start.back()));
        out.by_row.resize(static_cast<std::size_t>(start.back()));
        std::vector<Piece> pieces;
        for (std::size_t chunk = 0; chunk < tallies_.size(); ++chunk)
            pieces.push_back({quota[chunk], out.column.data() + start[chunk], out.by_row.data() + start[chunk]});
        std::vector<std::int64_t> counts(static_cast<std::size_t>(cut_.n) + 1, 0);
        const std::uint64_t above = window_.start(bucket + 1), from = bucket ? window_.start(bucket) : above;
        table_.collect(plan_, from, above, pieces.data(), counts.data() + 1, threads_);
        for (std::size_t i = 1; i < counts.size(); ++i) counts[i] += counts[i - 1];
        out.row_start = std::move(counts);
        return out;
    }

    const Window& current() const { return window_; }

private:
    const Table& table_;
    const Plan& plan_;
    int threads_;
    Cut cut_;
    std::vector<Tally> tallies_;
    Window window_{};
};

// Drops the entries in [from, above) beyond the `share` largest; of equal ones the first stay.
void trim(Selected& s, std::uint64_t from, std::uint64_t above, std::int64_t share, std::vector<double>& inside) {
    double bound = std::numeric_limits<double>::infinity();
    std::int64_t ties = 0;
    if (share > 0) {
        bound = inside[static_cast<std::size_t>(share - 1)];
        for (std::int64_t k = share - 1; k >= 0 && inside[static_cast<std::size_t>(k)] == bound; --k) ++ties;
    }
    std::size_t kept = 0;
    std::int64_t first = 0;
    for (std::size_t i = 0; i + 1 < s.row_start.size(); ++i) {
        const std::int64_t last = s.row_start[i + 1];
        for (std::int64_t k = first; k < last; ++k) {
            const double value = s.by_row[static_cast<std::size_t>(k)];
            const std::uint64_t bits = bits_of(value);
            if (bits >= from && bits < above && !(value > bound || (value == bound && ties-- > 0))) continue;
            s.column[kept] = s.column[static_cast<std::size_t>(k)];
            s.by_row[kept++] = value;
        }
        first = last;
        s.row_start[i + 1] = static_cast<std::int64_t>(kept);
    }
    s.column.resize(kept);
    s.by_row.resize(kept);
}

Selected with_columns(Selected s, std::int64_t m) {
    s.column_start.assign(static_cast<std::size_t>(m) + 1, 0);
    for (const std::int32_t j : s.column) ++s.column_start[static_cast<std::size_t>(j) + 1];
    for (std::size_t j = 1; j < s.column_start.size(); ++j) s.column_start[j] += s.column_start[j - 1];
    std::vector<std::int64_t> next(s.column_start.begin(), s.column_start.end() - 1);
    s.row.resize(s.column.size());
    s.by_column.resize(s.column.size());
    for (std::size_t i = 0; i + 1 < s.row_start.size(); ++i)
        for (std::int64_t k = s.row_start[i]; k < s.row_start[i + 1]; ++k) {
            const auto at = static_cast<std::size_t>(next[static_cast<std::size_t>(s.column[static_cast<std::size_t>(k)])]++);
            s.row[at] = static_cast<std::int32_t>(i);
            s.by_column[at] = s.by_row[static_cast<std::size_t>(k)];
        }
    return s;
}

} // namespace

Selected select(const Table& table, const Plan& plan, double top, std::int64_t least, std::int64_t most, double budget,
                int threads) {
    const Rule rule{least, most, budget};
    Selection selection(table, plan, threads);
    // Everything at and above `high` stays. The first window leaves out what is 2^-100 of the top: nearly always dropped.
    std::uint64_t high = bits_of(top) + 1, low = bits_of(top * 0x1p-100);
    for (;;) {
        selection.count(window(low, high));
        std::int64_t rank = selection.entries(Window::buckets + 1), bucket = Window::buckets;
        double below = 0;
        std::vector<double> mass(Window::buckets + 1);
        for (std::int64_t b = 0; b <= Window::buckets; ++b) mass[static_cast<std::size_t>(b)] = selection.mass(b);
        std::vector<double> tail(Window::buckets + 1, 0.0); // what lies below a bucket
        for (std::int64_t b = 0; b <= Window::buckets; ++b) {
            tail[static_cast<std::size_t>(b)] = below;
            below += mass[static_cast<std::size_t>(b)];
        }
        for (; bucket > 0; --bucket) { // down to the first bucket of which something may go
            const std::int64_t inside = selection.entries(bucket);
            if (inside > 0 && !rule.keeps(rank + inside - 1, tail[static_cast<std::size_t>(bucket)])) break;
            rank += inside;
        }
        const Window w = selection.current();
        if (bucket == 0) {
            if (w.low == 0 || selection.entries(0) == 0 || !rule.keeps(rank, mass[0])) // nothing below it stays
                return with_columns(selection.take(0, 0), plan.cost.m);
            low = 0, high = w.low;
            continue;
        }
        const std::int64_t inside = selection.entries(bucket);
        const std::uint64_t from = w.start(bucket), above = w.start(bucket + 1);
        if (inside > few && w.shift > 0) {
            low = from, high = above;
            continue;
        }
        double rest = tail[static_cast<std::size_t>(bucket)] + mass[static_cast<std::size_t>(bucket)];
        std::int64_t share = 0;
        if (w.shift == 0) { // all of them are equal
            const double value = mass[static_cast<std::size_t>(bucket)] / static_cast<double>(inside);
            for (; share < inside && rule.keeps(rank + share, rest); ++share) rest -= value;
            return with_columns(selection.take(bucket, share), plan.cost.m);
        }
        Selected all = selection.take(bucket, inside);
        std::vector<double> values;
        for (const double value : all.by_row)
            if (const std::uint64_t bits = bits_of(value); bits >= from && bits < above) values.push_back(value);
        std::sort(values.begin(), values.end(), std::greater<>());
        for (; share < inside && rule.keeps(rank + share, rest); ++share) rest -= values[static_cast<std::size_t>(share)];
        trim(all, from, above, share, values);
        return with_columns(std::move(all), plan.cost.m);
    }
}

Selected above(const Table& table, const Plan& plan, double threshold, int threads) {
    Selection selection(table, plan, threads);
    selection.count({bits_of(threshold), 52});
    return with_columns(selection.take(0, 0), plan.cost.m);
}

} // namespace gossamer::transport
