// One row of C by all threads at once: a hub row must not leave the others waiting.
//
// The products of the row are cut in equal parts, one a thread. Where a private window a thread costs less than the
// products, each part is summed in its own window and the windows are added up by column ranges. Else all threads
// merge into one table as products are made: a key's slot is claimed by compare-and-swap, the value merged atomically.
#pragma once

#include "../dispatch/parallel.hpp"
#include "../dispatch/scratch.hpp"
#include "row.inl"

namespace gossamer::spgemm {
inline namespace GOSSAMER_ISA {

template <class Index, class Body>
void part_of_row(const Job<Index>& job, std::int64_t row, std::int64_t part, std::int64_t parts, const Body& body) {
    std::int64_t skip = job.fma[row] * part / parts, left = job.fma[row] * (part + 1) / parts - skip;
    for (std::int64_t p = job.a_ptr[row]; left > 0 && p < job.a_ptr[row + 1]; ++p) {
        const std::int64_t k = job.a_col[p], n = job.b_ptr[k + 1] - job.b_ptr[k];
        if (skip >= n) {
            skip -= n;
            continue;
        }
        const std::int64_t q = job.b_ptr[k] + skip, take = least(n - skip, left);
        body(p, q, q + take);
        left -= take;
        skip = 0;
    }
}

template <class Ring, class Index>
std::int64_t by_private_windows(const Job<Index>& job, std::int64_t row, Index* col, typename Ring::Value* val) {
    using Value = typename Ring::Value;
    const std::int64_t base = job.low[row] & ~std::int64_t{63}, words = ceil_div(job.high[row] - base, 64);
    const int parts = job.threads;
    constexpr std::int64_t each = counting<Ring> ? 0 : sizeof(Value);
    Scratch windows(words * 64 * each + 64, parts), bitmaps(words * 8 + 64, parts);
    const auto window = [&](int t) { return reinterpret_cast<Value*>(windows.part(t)); };
    const auto bitmap = [&](int t) { return reinterpret_cast<std::uint64_t*>(bitmaps.part(t)); };
    parallel_chunks(parts, parts, [&](std::int64_t part) {
        const int t = static_cast<int>(part);
        Value* const sums = window(t);
        std::uint64_t* const seen = bitmap(t);
        for (std::int64_t w = 0; w < words; ++w) seen[w] = 0;
        if constexpr (!counting<Ring>)
            for (std::int64_t i = 0; i < words * 64; ++i) sums[i] = Ring::identity;
        part_of_row(job, row, part, parts, [&](std::int64_t p, std::int64_t q, std::int64_t end) {
            for (; q < end; ++q) {
                const std::int64_t j = job.b_col[q] - base;
                if constexpr (!counting<Ring>) sums[j] = Ring::sum(sums[j], times<Ring>(job.a_val, p, job.b_val, q));
                seen[j >> 6] |= std::uint64_t{1} << (j & 63);
            }
        });
    });
    const std::int64_t ranges = least<std::int64_t>(words, 4 * parts);
    Scratch totals(8 * ranges, 1);
    std::int64_t* const offset = reinterpret_cast<std::int64_t*>(totals.part(0));
    parallel_chunks(ranges, parts, [&](std::int64_t range) {
        const std::int64_t from = words * range / ranges, to = words * (range + 1) / ranges;
        std::int64_t n = 0;
        for (std::int64_t w = from; w < to; ++w) {
            std::uint64_t all = bitmap(0)[w];
            for (int t = 1; t < parts; ++t) {
                const std::uint64_t theirs = bitmap(t)[w];
                if constexpr (!counting<Ring>)
                    for (std::uint64_t bits = theirs; bits; bits &= bits - 1) {
                        const std::int64_t i = w * 64 + __builtin_ctzll(bits);
                        window(0)[i] = Ring::sum(window(0)[i], window(t)[i]);
                    }
                all |= theirs;
            }
            bitmap(0)[w] = all;
            n += __builtin_popcountll(all);
        }
        offset[range] = n;
    });
    std::int64_t count = 0;
    for (std::int64_t range = 0; range < ranges; ++range) {
        const std::int64_t n = offset[range];
        offset[range] = count;
        count += n;
    }
    if constexpr (!counting<Ring>)
        parallel_chunks(ranges, parts, [&](std::int64_t range) {
            const std::int64_t from = words * range / ranges, to = words * (range + 1) / ranges;
            std::int64_t at = offset[range];
            for (std::int64_t w = from; w < to; ++w)
                at += emit_word<Ring>(bitmap(0)[w], base + w * 64, window(0) + w * 64, col + at, val + at);
        });
    return count;
}

template <class Ring, class Index>
std::int64_t by_atomic_table(const Job<Index>& job, std::int64_t row, Index* col, typename Ring::Value* val) {
    using Value = typename Ring::Value;
    const int parts = job.threads, bits = bits_for(2 * most<std::int64_t>(job.bound[row], 16));
    const std::int64_t size = std::int64_t{1} << bits;
    Scratch key_memory(size * static_cast<std::int64_t>(sizeof(Index)), 1);
    Scratch value_memory(counting<Ring> ? 64 : size * static_cast<std::int64_t>(sizeof(Value)), 1);
    Index* const keys = reinterpret_cast<Index*>(key_memory.part(0));
    Value* const values = reinterpret_cast<Value*>(value_memory.part(0));
    parallel_chunks(parts, parts, [&](std::int64_t part) {
        for (std::int64_t i = size * part / parts; i < size * (part + 1) / parts; ++i) {
            keys[i] = -1;
            if constexpr (!counting<Ring>) values[i] = Ring::identity;
        }
    });
    std::int64_t count = 0;
    parallel_chunks(parts, parts, [&](std::int64_t part) {
        std::int64_t claimed = 0;
        part_of_row(job, row, part, parts, [&](std::int64_t p, std::int64_t q, std::int64_t end) {
            for (; q < end; ++q) {
                const Index key = job.b_col[q];
                std::int64_t slot = slot_of(key, bits);
                for (;; slot = (slot + 1) & (size - 1)) {
                    Index held = __atomic_load_n(keys + slot, __ATOMIC_RELAXED);
                    if (held == Index{-1} && __atomic_compare_exchange_n(keys + slot, &held, key, false,
                                                                         __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
                        ++claimed;
                        break;
                    }
                    if (held == key) break;
                }
                if constexpr (!counting<Ring>)
                    atomic_sum<Ring>(values + slot, times<Ring>(job.a_val, p, job.b_val, q));
            }
        });
        __atomic_fetch_add(&count, claimed, __ATOMIC_RELAXED);
    });
    if constexpr (!counting<Ring>) {
        Scratch memory((count + 1) * static_cast<std::int64_t>(sizeof(Entry)), 2);
        Entry* const entries = reinterpret_cast<Entry*>(memory.part(0));
        std::int64_t n = 0;
        for (std::int64_t slot = 0; slot < size; ++slot)
            if (keys[slot] != Index{-1}) entries[n++] = {static_cast<std::uint64_t>(keys[slot]), slot};
        const Entry* const sorted = sort_entries(entries, reinterpret_cast<Entry*>(memory.part(1)), n);
        for (std::int64_t i = 0; i < n; ++i) {
            col[i] = static_cast<Index>(sorted[i].column);
            val[i] = values[sorted[i].slot];
        }
    }
    return count;
}

template <class Ring, class Index>
std::int64_t by_all_threads(const Job<Index>& job, std::int64_t row, Index* col, typename Ring::Value* val) {
    const std::int64_t window = job.high[row] - job.low[row];
    const bool apart = !job.atomic && window * job.threads <= 2 * job.fma[row];
    return apart ? by_private_windows<Ring>(job, row, col, val) : by_atomic_table<Ring>(job, row, col, val);
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::spgemm
