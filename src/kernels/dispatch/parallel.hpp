// Work in fixed chunks: the cut depends on the problem, never on the thread count, so that results do not either.
#pragma once

#include "simd.hpp"

#include <algorithm>
#include <cstdint>

#if defined(_OPENMP)
#include <omp.h>
#endif

namespace gossamer::inline GOSSAMER_ISA {

// Calls body(chunk) for chunk in [0, chunks), on at most `threads` threads; chunks are claimed dynamically.
template <class Body>
void parallel_chunks(std::int64_t chunks, int threads, const Body& body) {
    threads = static_cast<int>(std::min<std::int64_t>(threads, chunks));
#if defined(_OPENMP)
    if (threads > 1) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
        for (std::int64_t chunk = 0; chunk < chunks; ++chunk) body(chunk);
        return;
    }
#endif
    for (std::int64_t chunk = 0; chunk < chunks; ++chunk) body(chunk);
}

// Threads worth waking for `work` scalar operations: waking one costs about as much as 100,000 of them.
inline int worthwhile_threads(std::int64_t work, int threads) {
    return static_cast<int>(std::clamp<std::int64_t>(work / 100'000, 1, std::max(threads, 1)));
}

} // namespace gossamer::inline GOSSAMER_ISA
