// The entries of a plan by their size: how many and how much lies in each bucket, and those from one on.
#pragma once

namespace gossamer::transport {
inline namespace GOSSAMER_ISA {

inline std::uint64_t bits_of(double x) {
    std::uint64_t bits;
    std::memcpy(&bits, &x, 8);
    return bits;
}

// Calls body(chunk, i, row): the row in whole vectors, zeros behind its end.
template <class Body>
void over_plan(const Plan& plan, int threads, const Body& body) {
    const Cost& cost = plan.cost;
    const Cut cut = Cut::of(cost.n, cost.m);
    const std::int64_t padded = round_up(cost.m, width);
    const int use = worthwhile_threads((plan.stored ? 2 : 40) * cost.n * cost.m, threads);
    const Scratch buffers(padded * 8, use);
    const auto rows = [&](std::int64_t chunk, double* z) {
        for (std::int64_t i = cut.first(chunk); i < cut.last(chunk); ++i) {
            if (plan.stored) {
                std::memcpy(z, plan.stored + i * cost.m, static_cast<std::size_t>(cost.m) * 8);
                for (std::int64_t j = cost.m; j < padded; ++j) z[j] = 0;
            } else {
                fill_padded(cost, i, plan.u[i], plan.v, z);
                weights(z, padded, 0);
            }
            body(chunk, i, z);
        }
    };
    parallel_chunks_by_thread(cut.chunks, use,
                              [&](std::int64_t chunk, int thread) { call(rows, chunk, doubles(buffers, thread)); });
}

// Whether any of the numbers from z on, a vector of them, is at least `bound`.
GOSSAMER_INLINE bool any_from(const double* z, double bound) {
    const auto where = V::load(z) >= V::splat(bound);
    decltype(where[0] + 0) any = 0;
    for (int k = 0; k < width; ++k) any |= where[k];
    return any != 0;
}

inline void count(const Plan& plan, Window window, Tally* tallies, int threads) {
    const Cut cut = Cut::of(plan.cost.n, plan.cost.m);
    const std::int64_t m = plan.cost.m;
    for (std::int64_t chunk = 0; chunk < cut.chunks; ++chunk) std::memset(tallies + chunk, 0, sizeof(Tally));
    double bound;
    std::memcpy(&bound, &window.low, 8);
    over_plan(plan, threads, [&](std::int64_t chunk, std::int64_t, const double* z) {
        Tally& tally = tallies[chunk];
        typename V::type below{};
        std::int64_t others = 0;
        double sum = 0;
        for (std::int64_t from = 0; from < m; from += width) {
            if (!any_from(z + from, bound)) { // most of a plan that is nearly sparse
                below += V::load(z + from);
                continue;
            }
            const std::int64_t to = least(from + width, m);
            for (std::int64_t j = from; j < to; ++j) {
                const std::uint64_t bits = bits_of(z[j]);
                if (bits < window.low) {
                    sum += z[j];
                    continue;
                }
                const auto bucket = static_cast<std::int64_t>(
                    least<std::uint64_t>((bits - window.low) >> window.shift, Window::buckets) + 1);
                ++tally.count[bucket];
                tally.mass[bucket] += z[j];
                ++others;
            }
        }
        tally.count[0] += m - others;
        tally.mass[0] += V::sum(below) + sum;
    });
}

inline void collect(const Plan& plan, std::uint64_t from, std::uint64_t above, const Piece* pieces, std::int64_t* row_counts,
                    int threads) {
    const std::int64_t m = plan.cost.m;
    const Cut cut = Cut::of(plan.cost.n, m);
    const Scratch memory(16, static_cast<int>(cut.chunks)); // entries written, quota left
    for (std::int64_t chunk = 0; chunk < cut.chunks; ++chunk) {
        auto* own = reinterpret_cast<std::int64_t*>(memory.part(static_cast<int>(chunk)));
        own[0] = 0, own[1] = pieces[chunk].quota;
    }
    double bound;
    std::memcpy(&bound, &from, 8);
    over_plan(plan, threads, [&](std::int64_t chunk, std::int64_t i, const double* z) {
        auto* own = reinterpret_cast<std::int64_t*>(memory.part(static_cast<int>(chunk)));
        const std::int64_t before = own[0];
        for (std::int64_t start = 0; start < m; start += width) {
            if (!any_from(z + start, bound)) continue;
            const std::int64_t to = least(start + width, m);
            for (std::int64_t j = start; j < to; ++j) {
                const std::uint64_t bits = bits_of(z[j]);
                if (bits < from || (bits < above && own[1]-- <= 0)) continue;
                pieces[chunk].column[own[0]] = static_cast<std::int32_t>(j);
                pieces[chunk].value[own[0]++] = z[j];
            }
        }
        row_counts[i] = own[0] - before;
    });
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::transport
