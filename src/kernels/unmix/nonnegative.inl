// Least squares with signs on normal equations: active sets of Lawson and Hanson.
#pragma once

#include "../dispatch/parallel.hpp"
#include "../dispatch/scratch.hpp"

namespace gossamer::unmix {
inline namespace GOSSAMER_ISA {

struct ActiveSet { // of one row; memory of K * K + 4 * K doubles and 2 * K integers
    std::int64_t K, count = 0;
    const double* gram;
    double ridge, *factor, *value, *trial, *slope;
    std::int64_t *order, *blocked;

    ActiveSet(const double* g, std::int64_t size, double added, double* memory)
        : K(size), gram(g), ridge(added), factor(memory), value(factor + K * K), trial(value + K), slope(trial + 2 * K),
          order(reinterpret_cast<std::int64_t*>(slope + K)), blocked(order + K) {}

    static std::int64_t bytes(std::int64_t K) { return 8 * (K * K + 6 * K); }

    // One more row of the Cholesky factor of the passive part; false where rounding leaves nothing of it.
    bool append(std::int64_t j) {
        double* row = factor + count * K;
        double rest = gram[j * K + j] + ridge;
        for (std::int64_t i = 0; i < count; ++i) {
            double sum = gram[j * K + order[i]];
            for (std::int64_t l = 0; l < i; ++l) sum -= row[l] * factor[i * K + l];
            row[i] = sum / factor[i * K + i];
            rest -= row[i] * row[i];
        }
        if (!(rest > 0)) return false;
        row[count] = __builtin_sqrt(rest);
        order[count++] = j;
        return true;
    }

    void keep_positive() {
        const std::int64_t before = count;
        std::int64_t kept = 0;
        for (std::int64_t i = 0; i < before; ++i) {
            if (value[order[i]] > 0) order[kept++] = order[i];
            else value[order[i]] = 0;
        }
        count = 0;
        for (std::int64_t i = 0; i < kept; ++i) {
            const std::int64_t j = order[i];
            if (!append(j)) value[j] = 0;
        }
    }

    void solve(const double* b) { // trial[i] of the passive entry order[i]
        for (std::int64_t i = 0; i < count; ++i) {
            double sum = b[order[i]];
            for (std::int64_t l = 0; l < i; ++l) sum -= factor[i * K + l] * trial[l];
            trial[i] = sum / factor[i * K + i];
        }
        for (std::int64_t i = count; i-- > 0;) {
            double sum = trial[i];
            for (std::int64_t l = i + 1; l < count; ++l) sum -= factor[l * K + i] * trial[l];
            trial[i] = sum / factor[i * K + i];
        }
    }

    bool run(const double* b) {
        double largest = 0;
        for (std::int64_t k = 0; k < K; ++k) {
            value[k] = 0, blocked[k] = 0;
            largest = most(largest, b[k] < 0 ? -b[k] : b[k]);
        }
        count = 0;
        const double tolerance = 1e-11 * largest + 1e-300;
        for (std::int64_t round = 0; round < 100 * K; ++round) {
            std::int64_t best = -1;
            for (std::int64_t k = 0; k < K; ++k) {
                double sum = b[k];
                for (std::int64_t i = 0; i < count; ++i) sum -= gram[k * K + order[i]] * value[order[i]];
                slope[k] = sum;
            }
            for (std::int64_t i = 0; i < count; ++i) slope[order[i]] = 0;
            for (std::int64_t k = 0; k < K; ++k)
                if (slope[k] > tolerance && !blocked[k] && (best < 0 || slope[k] > slope[best])) best = k;
            if (best < 0) return true;
            if (!append(best)) {
                blocked[best] = 1;
                continue;
            }
            solve(b);
            if (trial[count - 1] <= 0) { // its slope was rounding
                --count, blocked[best] = 1;
                continue;
            }
            for (;;) {
                double length = 1;
                std::int64_t last = -1;
                for (std::int64_t i = 0; i < count; ++i)
                    if (trial[i] <= 0) {
                        const double here = value[order[i]] / (value[order[i]] - trial[i]);
                        if (last < 0 || here < length) length = here, last = i;
                    }
                for (std::int64_t i = 0; i < count; ++i) value[order[i]] += length * (trial[i] - value[order[i]]);
                if (last < 0) break;
                value[order[last]] = 0;
                keep_positive();
                if (!count) break;
                solve(b);
            }
            for (std::int64_t k = 0; k < K; ++k) blocked[k] = 0;
        }
        return false;
    }
};

inline std::int64_t nonnegative(const double* gram, std::int64_t K, const double* sides, std::int64_t N, double* a, int threads) {
    constexpr std::int64_t chunk = 256;
    const std::int64_t chunks = ceil_div(N, chunk);
    double ridge = 0;
    for (std::int64_t k = 0; k < K; ++k) ridge += 1e-14 * gram[k * K + k];
    threads = worthwhile_threads(N * K * K * K, threads);
    const Scratch memory(ActiveSet::bytes(K), threads), failed(8 * most<std::int64_t>(chunks, 1), 1);
    auto* failures = reinterpret_cast<std::int64_t*>(failed.part(0));
    parallel_chunks_by_thread(chunks, threads, [&](std::int64_t c, int thread) {
        ActiveSet set(gram, K, ridge, reinterpret_cast<double*>(memory.part(thread)));
        failures[c] = 0;
        for (std::int64_t n = c * chunk; n < least((c + 1) * chunk, N); ++n) {
            failures[c] += !set.run(sides + n * K);
            std::memcpy(a + n * K, set.value, static_cast<std::size_t>(K) * sizeof(double));
        }
    });
    std::int64_t total = 0;
    for (std::int64_t c = 0; c < chunks; ++c) total += failures[c];
    return total;
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::unmix
