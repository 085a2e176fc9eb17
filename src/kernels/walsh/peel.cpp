// Rounds of detection and subtraction, until no bin gives a term away.
#include "sparse.hpp"

#include "../dispatch/parallel.hpp"

#include <algorithm>

namespace gossamer::walsh {

// Groups side by side, since they share no bin; the order within a bin is that of the terms.
void subtract(const Sketch& sketch, const Term* terms, std::int64_t count, int threads) {
    const int worth = worthwhile_threads(count * sketch.groups * sketch.offsets * 8, threads);
    parallel_chunks(sketch.groups, worth, [&](std::int64_t chunk) {
        const int group = static_cast<int>(chunk);
        const Word* d = sketch.shifts + group * sketch.offsets;
        for (std::int64_t t = 0; t < count; ++t) {
            double* u = sketch.bin(group, static_cast<std::int64_t>(sketch.hash(group, terms[t].k)));
            for (int p = 0; p < sketch.offsets; ++p) u[p] -= parity(d[p] & terms[t].k) ? -terms[t].value : terms[t].value;
        }
    });
}

namespace {

constexpr int most_visits = 8;

// One term for each k that a round reports, in order of k.
std::vector<Term> merged(std::vector<Term> singles, bool average) {
    std::stable_sort(singles.begin(), singles.end(), [](const Term& a, const Term& b) { return a.k < b.k; });
    std::vector<Term> out;
    for (std::size_t from = 0, to; from < singles.size(); from = to) {
        double sum = 0;
        for (to = from; to < singles.size() && singles[to].k == singles[from].k; ++to) sum += singles[to].value;
        out.push_back({singles[from].k, average ? sum / static_cast<double>(to - from) : singles[from].value});
    }
    return out;
}

} // namespace

Peeled peel(const Sketch& sketch, const Settings& settings) {
    std::vector<Reader> readers;
    for (int group = 0; group < sketch.groups; ++group) readers.emplace_back(sketch, group, settings);
    const std::int64_t bins = sketch.groups * sketch.size();
    std::vector<std::int64_t> open(static_cast<std::size_t>(bins));
    for (std::int64_t i = 0; i < bins; ++i) open[i] = i;
    std::vector<unsigned char> visits(static_cast<std::size_t>(bins)), listed(static_cast<std::size_t>(bins));
    Peeled out{{}, 0};
    while (!open.empty() && static_cast<std::int64_t>(out.terms.size()) <= 4 * bins) {
        ++out.rounds;
        std::vector<Found> found(open.size());
        constexpr std::int64_t step = 32;
        const std::int64_t count = static_cast<std::int64_t>(open.size());
        const int worth = worthwhile_threads(count * sketch.offsets * 64, settings.threads);
        parallel_chunks(ceil_div(count, step), worth, [&](std::int64_t chunk) {
            for (std::int64_t i = chunk * step; i < least(count, (chunk + 1) * step); ++i)
                found[i] = readers[open[i] >> sketch.bits].read(open[i] & (sketch.size() - 1));
        });
        std::vector<Term> singles;
        for (std::int64_t i = 0; i < count; ++i) {
            listed[open[i]] = 0;
            ++visits[open[i]];
            if (found[i].single) singles.push_back(found[i].term);
        }
        const std::vector<Term> terms = merged(std::move(singles), settings.average);
        subtract(sketch, terms.data(), static_cast<std::int64_t>(terms.size()), settings.threads);
        open.clear();
        for (const Term& term : terms) {
            out.terms.push_back(term);
            for (int group = 0; group < sketch.groups; ++group) {
                const auto bin =
                    (static_cast<std::int64_t>(group) << sketch.bits) + static_cast<std::int64_t>(sketch.hash(group, term.k));
                if (listed[bin] || visits[bin] >= most_visits) continue;
                listed[bin] = 1;
                open.push_back(bin);
            }
        }
    }
    return out;
}

} // namespace gossamer::walsh
