// Fixed dimensional encodings: vectors of a set are summed by the cell that random hyperplanes put them in.
#pragma once

#include "../dispatch/dense.hpp"
#include "../dispatch/parallel.hpp"
#include "../dispatch/scratch.hpp"
#include "rows.inl"

namespace gossamer::maxsim {
inline namespace GOSSAMER_ISA {

inline constexpr std::int64_t tile_tokens = 128;
inline constexpr int distance_shift = 20; // bits are at most 20, so that rows of cells stay below 2^20
inline constexpr std::int32_t one_away = 1 << distance_shift, nowhere = 1 << 30;

inline std::int64_t longest(const Sets& sets) {
    std::int64_t most_rows = 0;
    for (std::int64_t s = 0; s < sets.count; ++s) most_rows = most(most_rows, sets.offsets[s + 1] - sets.offsets[s]);
    return most_rows;
}

// A thread's memory. Rows are what is projected: sums of cells, then vectors that fill empty ones.
struct Room {
    float *wide, *scores, *sums, *projected;
    std::int32_t *codes, *key, *row_of, *row, *first, *held, *filler, *code_of;

    static std::int64_t rows(const Encoding& e, std::int64_t tokens) {
        return least(std::int64_t{1} << e.bits, 2 * tokens);
    }
    static std::int64_t columns(const Encoding& e) { return round_up(e.reps * e.bits, 16); }

    // Sets the pointers, if there is memory; returns its size.
    std::int64_t place(std::byte* memory, const Encoding& e, std::int64_t dim, std::int64_t tokens) {
        const std::int64_t cells = std::int64_t{1} << e.bits, most_rows = rows(e, tokens);
        std::int64_t at = 0;
        const auto take = [&]<class T>(T*& pointer, std::int64_t count) {
            if (memory) pointer = reinterpret_cast<T*>(memory + at);
            at += round_up(count * static_cast<std::int64_t>(sizeof(T)), 64);
        };
        take(wide, tile_tokens * dim), take(scores, tile_tokens * columns(e));
        take(sums, most_rows * dim), take(projected, e.projection ? most_rows * e.width : 0);
        take(codes, e.reps * tokens), take(row, tokens), take(key, cells), take(row_of, cells);
        take(first, most_rows), take(held, most_rows), take(filler, most_rows), take(code_of, most_rows);
        return at;
    }
};

// codes[r * tokens + i]: the bits of token i in repetition r, the first direction's on top
template <class Value>
void partition(const Value* x, std::int64_t tokens, std::int64_t dim, const Encoding& e, const Room& room) {
    if (!e.bits) {
        for (std::int64_t i = 0; i < e.reps * tokens; ++i) room.codes[i] = 0;
        return;
    }
    const std::int64_t columns = Room::columns(e);
    for (std::int64_t from = 0; from < tokens; from += tile_tokens) {
        const std::int64_t count = least(tile_tokens, tokens - from);
        panel_times_matrix(wide_rows(x + from * dim, count * dim, room.wide), dim, count, dim, e.directions, columns,
                           room.scores, false);
        for (std::int64_t i = 0; i < count; ++i)
            for (std::int64_t r = 0; r < e.reps; ++r) {
                const float *score = room.scores + i * columns + r * e.bits, *bar = e.thresholds + r * e.bits;
                std::int32_t code = 0;
                for (std::int64_t b = 0; b < e.bits; ++b) code = 2 * code + (score[b] > bar[b]);
                room.codes[r * tokens + from + i] = code;
            }
    }
}

template <class Value>
void add_row(const Value* x, std::int64_t dim, float* wide, float* sum) {
    const float* row = wide_rows(x, dim, wide);
    for (std::int64_t k = 0; k < dim; ++k) sum[k] += row[k];
}

// key[c]: the Hamming distance from cell c to the nearest cell that has vectors, and of those the one whose first vector
// comes first. Distances add up over bits, so one sweep a bit finds them all.
inline void nearest_cells(std::int64_t bits, std::int32_t* key) {
    for (std::int64_t half = 1; half < std::int64_t{1} << bits; half *= 2)
        for (std::int64_t from = 0; from < std::int64_t{1} << bits; from += 2 * half)
            for (std::int64_t c = from; c < from + half; ++c) {
                const std::int32_t a = key[c], b = key[c + half];
                key[c] = least(a, b + one_away);
                key[c + half] = least(b, a + one_away);
            }
}

// Bits read as a Gray code: neighbouring cells differ in one bit.
inline std::int64_t position(std::uint32_t code) {
    for (int shift = 1; shift < 32; shift *= 2) code ^= code >> shift;
    return static_cast<std::int64_t>(code);
}

inline void put(const float* values, float scale, std::int64_t width, const Encoding& e, std::int64_t at, float* out) {
    if (!e.places) {
        for (std::int64_t k = 0; k < width; ++k) out[at + k] = scale * values[k];
        return;
    }
    const std::int32_t* places = e.places + at;
    for (std::int64_t k = 0; k < width; ++k) {
        const std::int32_t flip = places[k] >> 31;
        const float value = scale * values[k];
        out[places[k] ^ flip] += flip ? -value : value;
    }
}

template <class Value>
void encode_repetition(const Value* x, std::int64_t tokens, std::int64_t dim, const Encoding& e, std::int64_t r,
                       const Room& room, float* out) {
    const std::int64_t cells = std::int64_t{1} << e.bits;
    const std::int32_t* codes = room.codes + r * tokens;
    for (std::int64_t c = 0; c < cells; ++c) room.row_of[c] = -1, room.key[c] = nowhere;
    std::int32_t rows = 0;
    for (std::int64_t i = 0; i < tokens; ++i) {
        std::int32_t& row = room.row_of[codes[i]];
        if (row < 0) {
            row = rows++;
            room.first[row] = static_cast<std::int32_t>(i), room.code_of[row] = codes[i];
            room.held[row] = 0, room.filler[row] = -1;
            widen(x + i * dim, dim, room.sums + row * dim);
        } else {
            add_row(x + i * dim, dim, room.wide, room.sums + row * dim);
        }
        ++room.held[row];
    }
    const std::int32_t own = rows;
    if (e.fill) {
        for (std::int32_t row = 0; row < own; ++row) room.key[room.code_of[row]] = row;
        nearest_cells(e.bits, room.key);
        for (std::int64_t c = 0; c < cells; ++c) {
            if (room.row_of[c] >= 0) continue;
            const std::int32_t near = room.key[c] & (one_away - 1);
            if (room.filler[near] < 0) { // a sum of one vector is that vector
                room.filler[near] = room.held[near] == 1 ? near : rows++;
                widen(x + room.first[near] * dim, dim, room.sums + room.filler[near] * dim);
            }
        }
    }
    const float* values = room.sums;
    if (e.projection) {
        panel_times_matrix(room.sums, dim, rows, dim, e.projection + r * dim * e.width, e.width, room.projected, false);
        values = room.projected;
    }
    const auto put_row = [&](std::int64_t row, std::int64_t code, float scale) {
        put(values + row * e.width, scale, e.width, e, (r * cells + position(static_cast<std::uint32_t>(code))) * e.width, out);
    };
    for (std::int32_t row = 0; row < own; ++row)
        put_row(row, room.code_of[row], e.mean ? 1.0f / static_cast<float>(room.held[row]) : 1.0f);
    if (!e.fill) return;
    for (std::int64_t c = 0; c < cells; ++c)
        if (room.row_of[c] < 0) put_row(room.filler[room.key[c] & (one_away - 1)], c, 1.0f);
}

inline void encode(const Sets& sets, const Encoding& e, float* out, int threads) {
    const std::int64_t tokens = longest(sets), work = sets.offsets[sets.count] * sets.dim * (e.reps * e.bits + 1);
    threads = static_cast<int>(least<std::int64_t>(worthwhile_threads(work, threads), sets.count));
    const Scratch scratch(Room{}.place(nullptr, e, sets.dim, tokens), threads);
    with_type(sets, [&](const auto* vectors) {
        parallel_chunks_by_thread(sets.count, threads, [&](std::int64_t s, int thread) {
            Room room;
            room.place(scratch.part(thread), e, sets.dim, tokens);
            const auto* x = vectors + sets.offsets[s] * sets.dim;
            const std::int64_t count = sets.offsets[s + 1] - sets.offsets[s];
            float* to = out + s * e.out_width;
            if (e.places || !e.fill) std::memset(to, 0, static_cast<std::size_t>(e.out_width) * sizeof(float));
            partition(x, count, sets.dim, e, room);
            for (std::int64_t r = 0; r < e.reps; ++r) encode_repetition(x, count, sets.dim, e, r, room, to);
        });
    });
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::maxsim
