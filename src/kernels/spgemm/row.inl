// One row of C in each accumulator, on the memory of one thread.
#pragma once

#include "spgemm.hpp"
#include "program.inl"

namespace gossamer::spgemm {
inline namespace GOSSAMER_ISA {

template <class Ring>
inline constexpr bool counting = false;
template <>
inline constexpr bool counting<Pattern> = true;

template <class T>
GOSSAMER_INLINE T* carve(std::byte*& memory, std::int64_t count) {
    T* const here = reinterpret_cast<T*>(memory);
    memory += round_up(count * static_cast<std::int64_t>(sizeof(T)), 64);
    return here;
}

// Moves the values under one word of a bitmap to C and puts the identity back.
template <class Ring, class Index, class Value>
GOSSAMER_INLINE std::int64_t emit_word(std::uint64_t bits, std::int64_t column, Value* values, Index* col, Value* val) {
    std::int64_t n = 0;
    if (__builtin_popcountll(bits) > 24) { // in runs
        for (std::int64_t at = 0; bits;) {
            const int gap = __builtin_ctzll(bits);
            bits >>= gap;
            at += gap;
            const int run = ~bits ? __builtin_ctzll(~bits) : 64;
            for (int i = 0; i < run; ++i) {
                col[n + i] = static_cast<Index>(column + at + i);
                val[n + i] = values[at + i];
                values[at + i] = Ring::identity;
            }
            n += run;
            at += run;
            bits = run < 64 ? bits >> run : 0;
        }
        return n;
    }
    for (; bits; bits &= bits - 1, ++n) {
        const int i = __builtin_ctzll(bits);
        col[n] = static_cast<Index>(column + i);
        val[n] = values[i];
        values[i] = Ring::identity;
    }
    return n;
}

template <class Ring, class Index>
struct Worker {
    using Value = typename Ring::Value;
    const Job<Index>& job;
    Value *values, *slots;
    std::uint8_t* flags; // columns of a window that were met, a byte each: no read-modify-write of shared words
    std::uint64_t *words, *summary;
    std::uint32_t* places; // columns of a row, from the window's begin
    Index* keys;
    std::uint8_t* state;
    Entry *entries, *spare;
    Program<Ring, Index>* program;

    static constexpr std::int64_t value_bytes = counting<Ring> ? 0 : sizeof(Value);
    static std::int64_t width(const Job<Index>& job) { return round_up(job.widest + 128, 4096) + 4096; }
    static int table_bits(std::int64_t bound) { return bits_for(2 * most<std::int64_t>(bound, 16)); }

    static std::int64_t bytes(const Job<Index>& job) {
        const std::int64_t table = std::int64_t{1} << table_bits(job.fullest), held = job.fullest + 16;
        return width(job) * (value_bytes + 1 + 4) + 64 + width(job) / 8 + width(job) / 512 +
               table * static_cast<std::int64_t>(sizeof(Index) + sizeof(Value) + 1) +
               2 * held * static_cast<std::int64_t>(sizeof(Entry)) +
               static_cast<std::int64_t>(sizeof(Program<Ring, Index>)) + 20 * 64;
    }

    Worker(const Job<Index>& j, std::byte* memory, bool fresh) : job(j) {
        const std::int64_t wide = width(job), table = std::int64_t{1} << table_bits(job.fullest);
        values = carve<Value>(memory, counting<Ring> ? 0 : wide);
        flags = carve<std::uint8_t>(memory, wide);
        words = carve<std::uint64_t>(memory, wide / 64);
        summary = carve<std::uint64_t>(memory, wide / 4096);
        places = carve<std::uint32_t>(memory, wide + 16);
        keys = carve<Index>(memory, table);
        slots = carve<Value>(memory, table);
        state = carve<std::uint8_t>(memory, table);
        entries = carve<Entry>(memory, job.fullest + 16);
        spare = carve<Entry>(memory, job.fullest + 16);
        program = carve<Program<Ring, Index>>(memory, 1);
        if (!fresh) return;
        if constexpr (!counting<Ring>)
            for (std::int64_t i = 0; i < wide; ++i) values[i] = Ring::identity;
        for (std::int64_t i = 0; i < wide; ++i) flags[i] = 0;
        for (std::int64_t i = 0; i < wide / 64; ++i) words[i] = 0;
        for (std::int64_t i = 0; i < wide / 4096; ++i) summary[i] = 0;
        for (std::int64_t i = 0; i < table; ++i) keys[i] = -1;
        program->terms = 0;
    }

    std::int64_t run(std::int64_t row, Index* col, Value* val) {
        switch (job.kind[row]) {
            case empty: return 0;
            case scale: return by_scale(row, col, val);
            case repeat: return by_program(row, col, val);
            case small: return by_sort(row, col, val);
            case merge: return by_merge(row, col, val);
            case dense:
                return ceil_div(job.high[row] - (job.low[row] & ~std::int64_t{63}), 64) > job.bound[row]
                           ? by_dense<true>(row, col, val)
                           : by_dense<false>(row, col, val);
            case hash: return job.mask_ptr ? by_mask(row, col, val) : by_hash<false>(row, col, val);
            default: return by_hash<true>(row, col, val);
        }
    }

    std::int64_t by_scale(std::int64_t row, Index* col, Value* val) {
        const std::int64_t p = job.a_ptr[row], k = job.a_col[p], q = job.b_ptr[k], n = job.b_ptr[k + 1] - q;
        if constexpr (!counting<Ring>)
            for (std::int64_t i = 0; i < n; ++i) {
                col[i] = job.b_col[q + i];
                val[i] = times<Ring>(job.a_val, p, job.b_val, q + i);
            }
        return n;
    }

    std::int64_t by_sort(std::int64_t row, Index* col, Value* val) {
        std::int64_t n = 0;
        for (std::int64_t p = job.a_ptr[row]; p < job.a_ptr[row + 1]; ++p) {
            look_ahead(p);
            const std::int64_t k = job.a_col[p];
            for (std::int64_t q = job.b_ptr[k]; q < job.b_ptr[k + 1]; ++q, ++n) {
                entries[n] = {static_cast<std::uint64_t>(job.b_col[q]), n};
                slots[n] = times<Ring>(job.a_val, p, job.b_val, q);
            }
        }
        const Entry* sorted = entries;
        if (n > 32) {
            sorted = sort_entries(entries, spare, n);
        } else {
            for (std::int64_t i = 1; i < n; ++i) {
                const Entry moving = entries[i];
                std::int64_t j = i;
                for (; j > 0 && entries[j - 1].column > moving.column; --j) entries[j] = entries[j - 1];
                entries[j] = moving;
            }
        }
        std::int64_t out = 0;
        for (std::int64_t i = 0; i < n; ++out) {
            const std::uint64_t column = sorted[i].column;
            Value total = slots[sorted[i].slot];
            for (++i; i < n && sorted[i].column == column; ++i) total = Ring::sum(total, slots[sorted[i].slot]);
            if constexpr (!counting<Ring>) {
                col[out] = static_cast<Index>(column);
                val[out] = total;
            }
        }
        return out;
    }

    std::int64_t by_merge(std::int64_t row, Index* col, Value* val) {
        std::int64_t at[4], end[4], from[4], n = 0;
        int ways = 0;
        for (std::int64_t p = job.a_ptr[row]; p < job.a_ptr[row + 1]; ++p) {
            const std::int64_t k = job.a_col[p];
            if (job.b_ptr[k] == job.b_ptr[k + 1]) continue;
            at[ways] = job.b_ptr[k], end[ways] = job.b_ptr[k + 1], from[ways++] = p;
        }
        while (ways) {
            Index column = job.b_col[at[0]];
            for (int w = 1; w < ways; ++w) column = least(column, job.b_col[at[w]]);
            Value total = Ring::identity;
            int left = 0;
            for (int w = 0; w < ways; ++w) {
                if (job.b_col[at[w]] == column) {
                    total = Ring::sum(total, times<Ring>(job.a_val, from[w], job.b_val, at[w]));
                    ++at[w];
                }
                if (at[w] < end[w]) at[left] = at[w], end[left] = end[w], from[left++] = from[w];
            }
            ways = left;
            if constexpr (!counting<Ring>) {
                col[n] = column;
                val[n] = total;
            }
            ++n;
        }
        return n;
    }

    // Asks for what the entries a little further on will read: rows of B lie anywhere.
    GOSSAMER_INLINE void look_ahead(std::int64_t p) const {
        const std::int64_t end = job.a_ptr[job.rows];
        if (p + 24 < end) __builtin_prefetch(job.b_ptr + job.a_col[p + 24]);
        if (p + 12 < end) {
            const std::int64_t q = job.b_ptr[job.a_col[p + 12]];
            __builtin_prefetch(job.b_col + q);
            if constexpr (Ring::reads) __builtin_prefetch(static_cast<const Value*>(job.b_val) + q);
        }
    }

    // A row whose products fall like those of the row before it, moved: stencils, bands, lattices. Where each of them
    // goes is known then; what is left is to check that they do, and to add.
    std::int64_t by_program(std::int64_t row, Index* col, Value* val) {
        Index shift = 0;
        if (!program->holds(job, row, shift)) {
            program->write(job, row, entries, spare);
            shift = 0;
        }
        const std::int64_t n = program->outputs;
        if constexpr (!counting<Ring>) {
            const Index* const out = program->out;
            for (std::int64_t i = 0; i < n; ++i) col[i] = static_cast<Index>(out[i] + shift);
            program->add(job, val);
        }
        return n;
    }

    // A window that few products meet (Sparse) is read back by the list of columns that were met.
    template <bool Sparse>
    std::int64_t by_dense(std::int64_t row, Index* col, Value* val) {
        const std::int64_t base = job.low[row] & ~std::int64_t{63};
        const Index *const b_ptr = job.b_ptr, *const b_col = job.b_col, *const a_col = job.a_col;
        Value* const sums = values; // in locals: a store of bytes might change any member
        std::uint8_t* const met = flags;
        std::uint32_t* const list = places;
        const void* const b_val = job.b_val;
        const bool b_sorted = job.b_sorted;
        std::int64_t n = 0;
        for (std::int64_t p = job.a_ptr[row], stop = job.a_ptr[row + 1]; p < stop; ++p) {
            look_ahead(p);
            const std::int64_t k = a_col[p], q = b_ptr[k], end = b_ptr[k + 1];
            const Value a = at<Ring>(job.a_val, p);
            if constexpr (!Sparse) {
                if (end - q > 2 && b_sorted && b_col[end - 1] - b_col[q] == end - q - 1) { // neighbours: no scatter
                    const std::int64_t j = b_col[q] - base;
                    if constexpr (!counting<Ring>) {
                        Value* const __restrict to = sums + j;
                        for (std::int64_t i = 0; i < end - q; ++i)
                            to[i] = Ring::sum(to[i], Ring::product(a, at<Ring>(b_val, q + i)));
                    }
                    for (std::int64_t i = 0; i < end - q; ++i) met[j + i] = 1;
                    continue;
                }
            }
            for (std::int64_t i = q; i < end; ++i) {
                const std::int64_t j = b_col[i] - base;
                if constexpr (!counting<Ring>) sums[j] = Ring::sum(sums[j], Ring::product(a, at<Ring>(b_val, i)));
                if constexpr (Sparse) {
                    list[n] = static_cast<std::uint32_t>(j);
                    n += met[j] == 0;
                }
                met[j] = 1;
            }
        }
        const std::int64_t used = ceil_div(job.high[row] - base, 64);
        if constexpr (counting<Ring>) {
            if constexpr (Sparse)
                for (std::int64_t i = 0; i < n; ++i) met[list[i]] = 0;
            else
                for (std::int64_t w = 0; w < used; ++w) n += __builtin_popcountll(take_flags(met + w * 64));
            return n;
        }
        if constexpr (!Sparse) {
            for (std::int64_t w = 0; w < used; ++w)
                if (const std::uint64_t bits = take_flags(met + w * 64)) n = list_bits(bits, w * 64, list, n);
            if (n == job.high[row] - job.low[row]) { // no gap in the window
                Value* const __restrict from = sums + (job.low[row] - base);
                for (std::int64_t i = 0; i < n; ++i) {
                    col[i] = static_cast<Index>(job.low[row] + i);
                    val[i] = from[i];
                    from[i] = Ring::identity;
                }
                return n;
            }
        } else {
            for (std::int64_t i = 0; i < n; ++i) met[list[i]] = 0;
            if (job.sort) {
                for (std::int64_t i = 0; i < n; ++i) {
                    const std::uint32_t w = list[i] >> 6;
                    words[w] |= std::uint64_t{1} << (list[i] & 63);
                    summary[w >> 6] |= std::uint64_t{1} << (w & 63);
                }
                n = 0;
                for (std::int64_t s = 0; s < ceil_div(used, 64); ++s) {
                    for (std::uint64_t bits = summary[s]; bits; bits &= bits - 1) {
                        const std::int64_t w = s * 64 + __builtin_ctzll(bits);
                        n = list_bits(words[w], w * 64, list, n);
                        words[w] = 0;
                    }
                    summary[s] = 0;
                }
            }
        }
        for (std::int64_t i = 0; i < n; ++i) {
            const std::int64_t j = list[i];
            col[i] = static_cast<Index>(base + j);
            val[i] = sums[j];
            sums[j] = Ring::identity;
        }
        return n;
    }

    template <bool Vector>
    std::int64_t by_hash(std::int64_t row, Index* col, Value* val) {
        const int bits = table_bits(job.bound[row]);
        const Index *const b_ptr = job.b_ptr, *const b_col = job.b_col;
        Index* const held = keys;
        Value* const sums = slots;
        Entry* const found = entries;
        std::int64_t n = 0;
        for (std::int64_t p = job.a_ptr[row], stop = job.a_ptr[row + 1]; p < stop; ++p) {
            look_ahead(p);
            const Value a = at<Ring>(job.a_val, p);
            const std::int64_t k = job.a_col[p], end = b_ptr[k + 1];
            for (std::int64_t q = b_ptr[k]; q < end; ++q) {
                bool fresh;
                const std::int64_t slot = find<Vector>(held, bits, b_col[q], fresh);
                if (fresh) found[n++] = {static_cast<std::uint64_t>(b_col[q]), slot};
                if constexpr (!counting<Ring>) {
                    const Value v = Ring::product(a, at<Ring>(job.b_val, q));
                    sums[slot] = fresh ? v : Ring::sum(sums[slot], v);
                }
            }
        }
        return emit_entries(n, col, val);
    }

    std::int64_t emit_entries(std::int64_t n, Index* col, Value* val) {
        const Entry* from = entries;
        if constexpr (!counting<Ring>)
            if (job.sort) from = sort_entries(entries, spare, n);
        for (std::int64_t i = 0; i < n; ++i) {
            if constexpr (!counting<Ring>) {
                col[i] = static_cast<Index>(from[i].column);
                val[i] = slots[from[i].slot];
            }
            keys[from[i].slot] = -1;
        }
        return n;
    }

    // The table holds the mask's row before the first product comes.
    std::int64_t by_mask(std::int64_t row, Index* col, Value* val) {
        enum : std::uint8_t { open, taken, refused };
        const std::int64_t masked = job.mask_ptr[row + 1] - job.mask_ptr[row];
        const int bits = table_bits(masked + (job.complement ? job.bound[row] : 0));
        std::int64_t loaded = 0, n = 0;
        Entry* const preloaded = spare;
        for (std::int64_t p = job.mask_ptr[row]; p < job.mask_ptr[row + 1]; ++p) {
            bool fresh;
            const std::int64_t slot = find<false>(keys, bits, job.mask_col[p], fresh);
            if (!fresh) continue;
            preloaded[loaded++] = {0, slot};
            state[slot] = job.complement ? refused : open;
        }
        const std::int64_t size = std::int64_t{1} << bits;
        for (std::int64_t p = job.a_ptr[row]; p < job.a_ptr[row + 1]; ++p) {
            look_ahead(p);
            const std::int64_t k = job.a_col[p];
            for (std::int64_t q = job.b_ptr[k]; q < job.b_ptr[k + 1]; ++q) {
                const Index key = job.b_col[q];
                std::int64_t slot = slot_of(key, bits);
                while (keys[slot] != key && keys[slot] != Index{-1}) slot = (slot + 1) & (size - 1);
                if (keys[slot] == Index{-1}) {
                    if (!job.complement) continue;
                    keys[slot] = key;
                    state[slot] = open;
                }
                if (state[slot] == refused) continue;
                const Value v = times<Ring>(job.a_val, p, job.b_val, q);
                slots[slot] = state[slot] == open ? v : Ring::sum(slots[slot], v);
                if (state[slot] == open) entries[n++] = {static_cast<std::uint64_t>(key), slot};
                state[slot] = taken;
            }
        }
        for (std::int64_t i = 0; i < loaded; ++i) keys[preloaded[i].slot] = -1;
        return emit_entries(n, col, val);
    }
};

} // namespace GOSSAMER_ISA
} // namespace gossamer::spgemm
