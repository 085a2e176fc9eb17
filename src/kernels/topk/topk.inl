// The one template of the family; each <isa>.cpp includes it and exports its table.
#include "../dispatch/heap.hpp"
#include "../dispatch/parallel.hpp"
#include "../dispatch/scratch.hpp"
#include "topk.hpp"

namespace gossamer::topk {
inline namespace GOSSAMER_ISA {

inline constexpr std::int64_t rows_per_chunk = 16;

// body(row, heap) fills the heap of a row
template <class Real, class Body>
void by_row(std::int64_t n, std::int64_t f, std::int64_t k, const Lines<Real>& out, int threads, const Body& body) {
    threads = worthwhile_threads(n * f, threads);
    const Scratch scratch(k * static_cast<std::int64_t>(sizeof(Item<Real>)), threads);
    parallel_chunks_by_thread(ceil_div(n, rows_per_chunk), threads, [&](std::int64_t chunk, int thread) {
        for (std::int64_t row = chunk * rows_per_chunk; row < least(n, (chunk + 1) * rows_per_chunk); ++row) {
            Heap<Real> heap{reinterpret_cast<Item<Real>*>(scratch.part(thread)), k};
            body(row, heap);
            heap.write(out.index + row * k, out.value + row * k);
            out.held[row] = heap.held;
        }
    });
}

template <class Real>
void rows(const Real* z, std::int64_t n, std::int64_t f, std::int64_t k, const Lines<Real>& out, int threads) {
    by_row(n, f, k, out, threads, [&](std::int64_t row, Heap<Real>& heap) {
        const Real* line = z + row * f;
        scan(line, f, [&] { return heap.bar(); },
             [&](std::int64_t j) { heap.push({line[j], static_cast<std::int32_t>(j)}); });
    });
}

template <class Real>
void columns(const Real* z, std::int64_t n, std::int64_t f, const std::int64_t* room, const Lines<Real>& out,
             int threads) {
    using V = simd<Real>;
    constexpr std::int64_t block = 64;
    const std::int64_t chunks = ceil_div(f, block);
    std::int64_t widest = 1;
    for (std::int64_t c = 0; c < chunks; ++c) widest = most(widest, room[least(f, (c + 1) * block)] - room[c * block]);
    threads = worthwhile_threads(n * f, threads);
    const Scratch scratch(widest * static_cast<std::int64_t>(sizeof(Item<Real>)), threads);
    parallel_chunks_by_thread(chunks, threads, [&](std::int64_t chunk, int thread) {
        const std::int64_t first = chunk * block, width = least(block, f - first);
        auto* items = reinterpret_cast<Item<Real>*>(scratch.part(thread));
        Heap<Real> heaps[block];
        Real bars[block];
        for (std::int64_t c = 0; c < width; ++c) {
            const std::int64_t from = room[first + c], size = room[first + c + 1] - from;
            heaps[c] = {items + (from - room[first]), size};
            bars[c] = size > 0 ? Real(0) : static_cast<Real>(__builtin_inf()); // nothing exceeds infinity
        }
        for (std::int64_t row = 0; row < n; ++row) {
            const Real* line = z + row * f + first;
            const auto enter = [&](std::int64_t c) {
                if (!(line[c] > bars[c])) return;
                heaps[c].push({line[c], static_cast<std::int32_t>(row)});
                bars[c] = heaps[c].bar();
            };
            std::int64_t c = 0;
            for (; c + V::width <= width; c += V::width) {
                const auto hit = V::load(line + c) > V::load(bars + c);
                std::int64_t any = 0;
                for (int lane = 0; lane < V::width; ++lane) any |= static_cast<std::int64_t>(hit[lane]);
                if (any)
                    for (std::int64_t i = c; i < c + V::width; ++i) enter(i);
            }
            for (; c < width; ++c) enter(c);
        }
        for (std::int64_t c = 0; c < width; ++c) {
            heaps[c].write(out.index + room[first + c], out.value + room[first + c]);
            out.held[first + c] = heaps[c].held;
        }
    });
}

template <class Real>
double mean_size(const Real* a, std::int64_t count) {
    using V = simd<Real>;
    typename V::type sums[4] = {};
    std::int64_t j = 0;
    for (; j + 4 * V::width <= count; j += 4 * V::width)
        for (int v = 0; v < 4; ++v) {
            const auto part = V::load(a + j + v * V::width);
            sums[v] += part < V::splat(0) ? -part : part;
        }
    Real tail = 0;
    for (; j < count; ++j) tail += a[j] < 0 ? -a[j] : a[j];
    return static_cast<double>(V::sum((sums[0] + sums[1]) + (sums[2] + sums[3])) + tail) / static_cast<double>(count);
}

template <class Real>
void scored(const Real* z, const Real* slope, std::int64_t n, std::int64_t f, std::int64_t k, const Score& score,
            const Lines<Real>& out, int threads) {
    using V = simd<Real>;
    constexpr std::int64_t step = 4 * V::width;
    const auto clip = static_cast<Real>(score.clip < 1e30 ? score.clip : 1e30);
    const auto size = [&](Real a) {
        const Real counted = score.against ? (a < 0 ? -a : Real(0)) : (a < 0 ? -a : a);
        return counted < clip ? counted : clip;
    };
    by_row(n, f, k, out, threads, [&](std::int64_t row, Heap<Real>& heap) {
        const Real *line = z + row * f, *a = slope + row * f;
        double scale = score.scale;
        bool blind = scale < 0; // no gradient reaches this row: plain values decide
        if (scale == 0 || score.base == 0) {
            const double mean = mean_size(a, f);
            if (scale == 0) scale = mean;
            blind = blind || !(mean > 0);
        }
        const auto base = static_cast<Real>(blind ? 1.0 : score.base);
        const auto weight = static_cast<Real>(blind ? 0.0 : score.weight / scale);
        Real scores[step];
        const auto take = [&](std::int64_t from, std::int64_t count) {
            for (std::int64_t i = 0; i < count; ++i) scores[i] = line[from + i] * (base + weight * size(a[from + i]));
            scan(scores, count, [&] { return heap.bar(); },
                 [&](std::int64_t i) { heap.push({scores[i], static_cast<std::int32_t>(from + i)}); });
        };
        std::int64_t j = 0;
        for (; j + step <= f; j += step) take(j, step);
        take(j, f - j);
        heap.value_of(line); // what is kept of a latent is its value, not its score
    });
}

template <class Real>
void count_above(const Real* z, std::int64_t n, std::int64_t f, const Real* bound, std::int64_t* held, int threads) {
    parallel_chunks(ceil_div(n, rows_per_chunk), worthwhile_threads(n * f, threads), [&](std::int64_t chunk) {
        for (std::int64_t row = chunk * rows_per_chunk; row < least(n, (chunk + 1) * rows_per_chunk); ++row) {
            const Real* line = z + row * f;
            std::int64_t count = 0;
            for (std::int64_t j = 0; j < f; ++j) count += line[j] > bound[j];
            held[row] = count;
        }
    });
}

template <class Real>
void fill_above(const Real* z, std::int64_t n, std::int64_t f, const Real* bound, const std::int64_t* start,
                std::int32_t* index, Real* value, int threads) {
    parallel_chunks(ceil_div(n, rows_per_chunk), worthwhile_threads(n * f, threads), [&](std::int64_t chunk) {
        for (std::int64_t row = chunk * rows_per_chunk; row < least(n, (chunk + 1) * rows_per_chunk); ++row) {
            const Real* line = z + row * f;
            std::int64_t at = start[row];
            const std::int64_t end = start[row + 1];
            for (std::int64_t j = 0; j < f && at < end; ++j)
                if (line[j] > bound[j]) {
                    index[at] = static_cast<std::int32_t>(j);
                    value[at++] = line[j];
                }
        }
    });
}

template <class Real>
inline constexpr Entry<Real> entry{rows<Real>, columns<Real>, scored<Real>, count_above<Real>, fill_above<Real>};

inline constexpr Table kernels{entry<float>, entry<double>};

} // namespace GOSSAMER_ISA
} // namespace gossamer::topk
