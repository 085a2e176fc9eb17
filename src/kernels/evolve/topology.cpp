#include "evolve.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace gossamer::evolve {

template <class Real>
std::int64_t prune(const Real* value, std::int64_t count, double share, std::uint8_t* keep) {
    std::vector<Real> positive, negative;
    for (std::int64_t e = 0; e < count; ++e)
        if (value[e] > 0) positive.push_back(value[e]);
        else if (value[e] < 0) negative.push_back(value[e]);
    Real above = 0, below = 0;
    if (!positive.empty()) {
        const auto at = positive.begin() + static_cast<std::ptrdiff_t>(std::floor(share * static_cast<double>(positive.size())));
        std::nth_element(positive.begin(), at, positive.end());
        above = *at;
    }
    const auto kept_below = static_cast<std::ptrdiff_t>(std::floor((1 - share) * static_cast<double>(negative.size())));
    if (kept_below < static_cast<std::ptrdiff_t>(negative.size())) {
        const auto at = negative.begin() + kept_below;
        std::nth_element(negative.begin(), at, negative.end());
        below = *at;
    }
    std::int64_t kept = 0;
    for (std::int64_t e = 0; e < count; ++e) {
        keep[e] = value[e] > above || value[e] < below;
        kept += keep[e];
    }
    return kept;
}

template <class Real>
void regrow(const Entries<Real>& old, const std::uint8_t* keep, const std::int64_t* ranks, const Real* values,
            std::int64_t added, const Entries<Real>& out) {
    std::int64_t kept = 0, next = 0; // kept entries passed, new entries placed
    std::int32_t to = 0;
    out.start[0] = 0;
    for (std::int64_t row = 0; row < old.rows; ++row) {
        const std::int64_t base = row * old.columns;
        // new entries before `place`: the rank of an empty place is its number less the kept entries before it
        const auto grow = [&](std::int64_t place) {
            for (; next < added && ranks[next] + kept < place; ++next, ++to) {
                out.column[to] = static_cast<std::int32_t>(ranks[next] + kept - base);
                out.value[to] = values[next];
                out.velocity[to] = 0;
            }
        };
        for (std::int32_t e = old.start[row]; e < old.start[row + 1]; ++e) {
            if (!keep[e]) continue;
            grow(base + old.column[e]);
            out.column[to] = old.column[e];
            out.value[to] = old.value[e];
            out.velocity[to++] = old.velocity[e];
            ++kept;
        }
        grow(base + old.columns);
        out.start[row + 1] = to;
    }
}

void transpose(const std::int32_t* start, const std::int32_t* column, std::int64_t rows, std::int64_t columns,
               std::int32_t* twin_start, std::int32_t* twin_row, std::int32_t* source) {
    const std::int32_t count = start[rows];
    std::fill(twin_start, twin_start + columns + 1, 0);
    for (std::int32_t e = 0; e < count; ++e) ++twin_start[column[e] + 1];
    for (std::int64_t c = 0; c < columns; ++c) twin_start[c + 1] += twin_start[c];
    std::vector<std::int32_t> next(twin_start, twin_start + columns);
    for (std::int64_t row = 0; row < rows; ++row)
        for (std::int32_t e = start[row]; e < start[row + 1]; ++e) {
            const std::int32_t to = next[static_cast<std::size_t>(column[e])]++;
            source[to] = e;
            twin_row[to] = static_cast<std::int32_t>(row);
        }
}

template std::int64_t prune(const float*, std::int64_t, double, std::uint8_t*);
template std::int64_t prune(const double*, std::int64_t, double, std::uint8_t*);
template void regrow(const Entries<float>&, const std::uint8_t*, const std::int64_t*, const float*, std::int64_t,
                     const Entries<float>&);
template void regrow(const Entries<double>&, const std::uint8_t*, const std::int64_t*, const double*, std::int64_t,
                     const Entries<double>&);

} // namespace gossamer::evolve
