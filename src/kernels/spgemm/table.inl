// Hash tables of one thread, and the sort of what they held.
#pragma once

#include "semiring.inl"

namespace gossamer::spgemm {
inline namespace GOSSAMER_ISA {

struct Entry { // a column and where its value is
    std::uint64_t column;
    std::int64_t slot;
};

inline int bits_for(std::int64_t count) { // 2^bits >= count
    return count <= 1 ? 0 : 64 - __builtin_clzll(static_cast<std::uint64_t>(count - 1));
}

template <class Index>
GOSSAMER_INLINE std::int64_t slot_of(Index key, int bits) { // multiplicative; bits in 1..31
    std::uint32_t folded = static_cast<std::uint32_t>(key);
    if constexpr (sizeof(Index) == 8) folded ^= static_cast<std::uint32_t>(static_cast<std::uint64_t>(key) >> 32) * 0x85ebca6bu;
    return (folded * 2654435769u) >> (32 - bits);
}

inline constexpr int chunk = 16; // keys that hash-vector compares at once

// Which of 16 keys equal `key`, one bit each.
template <class Index>
GOSSAMER_INLINE std::uint32_t matches(const Index* keys, Index key) {
#if defined(__AVX512F__)
    if constexpr (sizeof(Index) == 4) {
        return _mm512_cmpeq_epi32_mask(_mm512_loadu_si512(keys), _mm512_set1_epi32(static_cast<int>(key)));
    } else {
        const __m512i wanted = _mm512_set1_epi64(static_cast<long long>(key));
        return _mm512_cmpeq_epi64_mask(_mm512_loadu_si512(keys), wanted) |
               static_cast<std::uint32_t>(_mm512_cmpeq_epi64_mask(_mm512_loadu_si512(keys + 8), wanted)) << 8;
    }
#else
    std::uint32_t found = 0;
    for (int i = 0; i < chunk; ++i) found |= static_cast<std::uint32_t>(keys[i] == key) << i;
    return found;
#endif
}

// The slot of `key` in a table of 2^bits keys, inserted if it is new: then `fresh` is set.
template <bool Vector, class Index>
GOSSAMER_INLINE std::int64_t find(Index* keys, int bits, Index key, bool& fresh) {
    const std::int64_t size = std::int64_t{1} << bits;
    std::int64_t slot = slot_of(key, bits);
    if constexpr (Vector) {
        slot &= -chunk;
        for (;; slot = (slot + chunk) & (size - 1)) {
            if (const std::uint32_t found = matches<Index>(keys + slot, key)) {
                fresh = false;
                return slot + __builtin_ctz(found);
            }
            if (const std::uint32_t open = matches<Index>(keys + slot, Index{-1})) {
                slot += __builtin_ctz(open);
                keys[slot] = key;
                fresh = true;
                return slot;
            }
        }
    } else {
        for (;; slot = (slot + 1) & (size - 1)) {
            if (keys[slot] == key) {
                fresh = false;
                return slot;
            }
            if (keys[slot] == Index{-1}) {
                keys[slot] = key;
                fresh = true;
                return slot;
            }
        }
    }
}

// Ascending by column: insertion in runs of 8 then merges; above 256 entries by radix, a byte a pass.
inline Entry* sort_entries(Entry* from, Entry* spare, std::int64_t count) {
    if (count > 256) {
        std::uint64_t low = ~std::uint64_t{0}, high = 0;
        for (std::int64_t i = 0; i < count; ++i) low = least(low, from[i].column), high = most(high, from[i].column);
        for (int shift = 0; shift < 64 && (high - low) >> shift; shift += 8) {
            std::int64_t place[257] = {};
            for (std::int64_t i = 0; i < count; ++i) ++place[((from[i].column - low) >> shift & 255) + 1];
            for (int i = 0; i < 255; ++i) place[i + 1] += place[i];
            for (std::int64_t i = 0; i < count; ++i) spare[place[(from[i].column - low) >> shift & 255]++] = from[i];
            Entry* const swap = from;
            from = spare;
            spare = swap;
        }
        return from;
    }
    constexpr std::int64_t run = 8;
    for (std::int64_t begin = 0; begin < count; begin += run) {
        const std::int64_t end = least(count, begin + run);
        for (std::int64_t i = begin + 1; i < end; ++i) {
            const Entry moving = from[i];
            std::int64_t j = i;
            for (; j > begin && from[j - 1].column > moving.column; --j) from[j] = from[j - 1];
            from[j] = moving;
        }
    }
    for (std::int64_t width = run; width < count; width *= 2) {
        for (std::int64_t begin = 0; begin < count; begin += 2 * width) {
            std::int64_t i = begin, j = least(count, begin + width), at = begin;
            const std::int64_t middle = j, end = least(count, begin + 2 * width);
            while (i < middle && j < end) {
                const bool right = from[j].column < from[i].column;
                spare[at++] = from[right ? j : i];
                j += right;
                i += !right;
            }
            while (i < middle) spare[at++] = from[i++];
            while (j < end) spare[at++] = from[j++];
        }
        Entry* const swap = from;
        from = spare;
        spare = swap;
    }
    return from;
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::spgemm
