// Work in fixed chunks: the cut depends on the problem, never on the thread count, so that results do not either.
#pragma once

#include "simd.hpp"

#include <cstdint>

#if defined(_OPENMP)
#include <omp.h>
#endif

namespace gossamer::inline GOSSAMER_ISA {

// Calls body(chunk, thread) for chunk in [0, chunks), on at most `threads` threads; chunks are claimed dynamically.
template <class Body>
void parallel_chunks_by_thread(std::int64_t chunks, int threads, const Body& body) {
#if defined(_OPENMP)
    if (threads > chunks) threads = static_cast<int>(chunks);
    if (threads > 1) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
        for (std::int64_t chunk = 0; chunk < chunks; ++chunk) body(chunk, omp_get_thread_num());
        return;
    }
#endif
    for (std::int64_t chunk = 0; chunk < chunks; ++chunk) body(chunk, 0);
}

// The same for a body that needs no memory of its own: body(chunk).
template <class Body>
void parallel_chunks(std::int64_t chunks, int threads, const Body& body) {
    parallel_chunks_by_thread(chunks, threads, [&body](std::int64_t chunk, int) { body(chunk); });
}

// Threads worth waking for `work` scalar operations: waking one costs about as much as 100,000 of them.
inline int worthwhile_threads(std::int64_t work, int threads) {
    return static_cast<int>(most<std::int64_t>(1, least<std::int64_t>(work / 100'000, threads)));
}

} // namespace gossamer::inline GOSSAMER_ISA
