// What all models share, and the table of the family; each <isa>.cpp includes it.
#include "../dispatch/exponential.hpp"
#include "../dispatch/logarithm.hpp"
#include "../dispatch/parallel.hpp"
#include "../dispatch/scratch.hpp"
#include "coding.hpp"

namespace gossamer::coding {
inline namespace GOSSAMER_ISA {

using V = simd<double>;

inline constexpr std::int64_t rows_at_once = 64; // of work that keeps no sums
inline constexpr std::int64_t rows_a_sum = 256;  // that add to sums of their own

inline void zero(double* to, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) to[i] = 0;
}

// body(from, to, thread) over points
template <class Body>
void over_points(std::int64_t points, std::int64_t work, int threads, const Body& body) {
    parallel_chunks_by_thread(ceil_div(points, rows_at_once), worthwhile_threads(points * work, threads),
                              [&](std::int64_t chunk, int thread) {
                                  body(chunk * rows_at_once, least(points, (chunk + 1) * rows_at_once), thread);
                              });
}

// body(from, to, sums, memory): sums of `size` doubles a chunk, which begin as zeros and are added up in order into out
template <class Body>
void sum_over_points(std::int64_t points, std::int64_t size, std::int64_t memory, int threads, double* out,
                     const Body& body) {
    const std::int64_t chunks = ceil_div(points, rows_a_sum), word = sizeof(double);
    const Scratch own(memory * word, threads), sums(size * word, static_cast<int>(chunks));
    parallel_chunks_by_thread(chunks, threads, [&](std::int64_t chunk, int thread) {
        auto* sum = reinterpret_cast<double*>(sums.part(static_cast<int>(chunk)));
        zero(sum, size);
        body(chunk * rows_a_sum, least(points, (chunk + 1) * rows_a_sum), sum,
             reinterpret_cast<double*>(own.part(thread)));
    });
    zero(out, size);
    for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
        const auto* sum = reinterpret_cast<const double*>(sums.part(static_cast<int>(chunk)));
        for (std::int64_t i = 0; i < size; ++i) out[i] += sum[i];
    }
}

// A point a lane: scores are inserted into a falling list by exchanges, then the list's places are sorted; no branches.
inline void largest(const double* scores, std::int64_t points, std::int64_t latents, std::int64_t count,
                    std::int32_t* chosen, int threads) {
    using T = V::type;
    const Scratch scratch(2 * count * static_cast<std::int64_t>(sizeof(T)), threads);
    over_points(points, latents * count, threads, [&](std::int64_t from, std::int64_t to, int thread) {
        T *best = reinterpret_cast<T*>(scratch.part(thread)), *place = best + count;
        for (std::int64_t n = from; n < to; n += V::width) {
            for (std::int64_t i = 0; i < count; ++i) best[i] = V::splat(-__builtin_inf()), place[i] = V::splat(0);
            for (std::int64_t h = 0; h < latents; ++h) {
                T x, id = V::splat(static_cast<double>(h));
                for (std::int64_t lane = 0; lane < V::width; ++lane) x[lane] = scores[least(n + lane, to - 1) * latents + h];
                for (std::int64_t i = 0; i < count; ++i) {
                    const auto more = (x > best[i]) | ((x == best[i]) & (id < place[i])); // what is pushed down came first
                    const T held = best[i], where = place[i];
                    best[i] = more ? x : held, place[i] = more ? id : where;
                    x = more ? held : x, id = more ? where : id;
                }
            }
            for (std::int64_t i = 1; i < count; ++i)
                for (std::int64_t k = i; k > 0; --k) {
                    const T a = place[k - 1], b = place[k];
                    place[k - 1] = a < b ? a : b, place[k] = a < b ? b : a;
                }
            for (std::int64_t lane = 0; lane < least<std::int64_t>(V::width, to - n); ++lane)
                for (std::int64_t i = 0; i < count; ++i)
                    chosen[(n + lane) * count + i] = static_cast<std::int32_t>(place[i][lane]);
        }
    });
}

inline void normalise(double* joint, std::int64_t points, std::int64_t columns, double* evidence, int threads) {
    over_points(points, 8 * columns, threads, [&](std::int64_t from, std::int64_t to, int) {
        for (std::int64_t n = from; n < to; ++n) {
            double* row = joint + n * columns;
            double top = row[0];
            for (std::int64_t k = 1; k < columns; ++k) top = most(top, row[k]);
            auto sums = V::splat(0);
            std::int64_t k = 0;
            for (; k + V::width <= columns; k += V::width) {
                const auto e = exponential<double>(V::load(row + k) - V::splat(top));
                sums += e;
                V::store(row + k, e);
            }
            double tail[V::width];
            for (std::int64_t i = 0; i < V::width; ++i) tail[i] = k + i < columns ? row[k + i] - top : ExpOf<double>::low - 1;
            const auto e = exponential<double>(V::load(tail));
            sums += e;
            V::store(tail, e);
            for (std::int64_t i = 0; k + i < columns; ++i) row[k + i] = tail[i];
            const double sum = V::sum(sums), scale = 1 / sum;
            for (k = 0; k < columns; ++k) row[k] *= scale;
            for (std::int64_t i = 0; i < V::width; ++i) tail[i] = sum;
            evidence[n] = top + logarithm(V::load(tail))[0];
        }
    });
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::coding

#include "gaussian.inl"
#include "linear.inl"
#include "maximum.inl"

namespace gossamer::coding {
inline namespace GOSSAMER_ISA {

inline constexpr Table kernels{largest,       normalise,     linear_joint,    linear_moments, excess,
                               maximum_joint, maximum_moments, maximum_mean, maximum_residual, gaussian_joint, gaussian_moments};

} // namespace GOSSAMER_ISA
} // namespace gossamer::coding
