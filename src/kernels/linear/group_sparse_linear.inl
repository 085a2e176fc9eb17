// The prepared group-sparse matrix: repacking, one token by units, many tokens by dense panels of 16 rows.
#pragma once

#include "group_sparse.inl"

namespace gossamer::linear {
inline namespace GOSSAMER_ISA {

template <int Bits, Zero Z>
class GroupSparse final : public Linear {
    using R = Record<Bits, Z>;

public:
    GroupSparse(int rows, int cols, const GroupSparseQuant& from)
        : Linear(rows, cols, Bits == 8 ? "group-sparse-int8" : "group-sparse-int4"), middle_(1 << (from.codes.bits - 1)),
          halves_((cols + 15) / 16), start_(sizeof(std::int64_t) * (units() + 1)) {
        std::int64_t bytes = 0;
        for (int unit = 0; unit < units(); ++unit) {
            start_.as<std::int64_t>()[unit] = bytes;
            std::int64_t kept = 0;
            each_part(from, unit, [&](int, int, std::int64_t, int) { ++kept; });
            bytes += 4 * static_cast<std::int64_t>(halves_) + R::bytes * kept;
        }
        start_.as<std::int64_t>()[units()] = bytes;
        stream_ = Buffer(static_cast<std::size_t>(bytes));
        Buffer unpacked(static_cast<std::size_t>(padded_group(from.codes))), offsets(sizeof(std::int64_t) * halves_);
        for (int unit = 0; unit < units(); ++unit)
            fill(from, unit, unpacked.as<std::uint8_t>(), offsets.as<std::int64_t>());
    }

    void run(int first, int last, const Activation& x, float* y, std::int64_t stride) const override {
        for (int unit = first; unit < last; ++unit) {
            if (!x.q)
                exact(unit, x, y, stride);
            else if (x.tokens >= 4)
                panels(unit, x, y, stride);
            else
                for (int token = 0; token < x.tokens; ++token) {
                    v16f out[2];
                    sparse_unit<Bits, Z>(at(unit), halves_, middle_, x.token(token), out);
                    for (int part = 0; part < 2; ++part) {
                        const int row = unit * unit_rows + 16 * part;
                        if (row < rows) store_some(y + token * stride + row, out[part], rows - row);
                    }
                }
        }
    }

    void row(int index, float* out) const override {
        std::memset(out, 0, sizeof(float) * cols);
        each_kept(index / unit_rows, [&](int half, int row, const Kept& kept) {
            if (row == index % unit_rows) dequantise(kept, out + 16 * half, smaller(16, cols - 16 * half));
        });
    }

    std::size_t bytes() const override { return stream_.size(); }

private:
    struct Kept { // group i among the n of its record
        const std::uint8_t* record;
        int n, i;
        std::uint8_t code(int t) const {
            const std::uint8_t byte = *R::byte(const_cast<std::uint8_t*>(record), n, i, t);
            return Bits == 8 ? byte : (byte >> R::shift(t)) & 15;
        }
        float16 scale() const { return load<float16>(record + R::scale_at * n + 2 * i); }
        std::uint8_t zero() const { return record[R::zero_at * n + i]; }
        float16 shift() const { return load<float16>(record + R::zero_at * n + 2 * i); }
    };

    const std::uint8_t* at(int unit) const { return stream_.as<std::uint8_t>() + start_.as<std::int64_t>()[unit]; }

    // body(row of the unit, half, flat group, first entry of the half within the group)
    template <class Body>
    void each_part(const GroupSparseQuant& from, int unit, const Body& body) const {
        const int group = from.codes.group;
        for (int row = 0; row < smaller(unit_rows, rows - unit * unit_rows); ++row)
            for (std::int64_t g = from.row_ptr[unit * unit_rows + row]; g < from.row_ptr[unit * unit_rows + row + 1]; ++g)
                for (int part = 0; part < group && from.col[g] * group + part < cols; part += 16)
                    body(row, (from.col[g] * group + part) / 16, g, part);
    }

    template <class Body>
    void each_kept(int unit, const Body& body) const {
        const std::uint8_t* p = at(unit) + 4 * static_cast<std::int64_t>(halves_);
        for (int half = 0; half < halves_; ++half) {
            const std::uint32_t word = word_at(at(unit), half);
            const int n = __builtin_popcount(word);
            int i = 0;
            for (std::uint32_t left = word; left; left &= left - 1, ++i) body(half, __builtin_ctz(left), Kept{p, n, i});
            p += R::bytes * n;
        }
    }

    void fill(const GroupSparseQuant& from, int unit, std::uint8_t* unpacked, std::int64_t* offsets) {
        std::uint8_t* words = const_cast<std::uint8_t*>(at(unit));
        each_part(from, unit, [&](int row, int half, std::int64_t, int) {
            const std::uint32_t word = word_at(words, half) | 1u << row;
            std::memcpy(words + 4 * half, &word, 4);
        });
        std::int64_t offset = 4 * static_cast<std::int64_t>(halves_);
        for (int half = 0; half < halves_; ++half) {
            offsets[half] = offset;
            offset += R::bytes * __builtin_popcount(word_at(words, half));
        }
        each_part(from, unit, [&](int row, int half, std::int64_t g, int part) {
            const std::uint32_t word = word_at(words, half);
            const int n = __builtin_popcount(word), i = __builtin_popcount(word & ((1u << row) - 1));
            std::uint8_t* record = words + offsets[half];
            unpack_group(from.codes, g, unpacked);
            for (int t = 0; t < 16; ++t)
                *R::byte(record, n, i, t) |= static_cast<std::uint8_t>(unpacked[part + t] << R::shift(t));
            std::memcpy(record + R::scale_at * n + 2 * i, from.codes.scale + g, 2);
            if constexpr (Z == Zero::integer) record[R::zero_at * n + i] = zero_code(from.codes, g);
            if constexpr (Z == Zero::real) std::memcpy(record + R::zero_at * n + 2 * i, from.codes.zero_float + g, 2);
        });
    }

    void dequantise(const Kept& kept, float* out, int count) const {
        const float scale = to_float(kept.scale());
        float shift = scale * static_cast<float>(middle_);
        if constexpr (Z == Zero::integer) shift = scale * static_cast<float>(kept.zero());
        if constexpr (Z == Zero::real) shift = to_float(kept.shift());
        for (int t = 0; t < count; ++t) out[t] = scale * static_cast<float>(kept.code(t)) - shift;
    }

    // Float activations: the unit as floats in this thread's memory, then plain products.
    void exact(int unit, const Activation& x, float* y, std::int64_t stride) const {
        const std::size_t size = static_cast<std::size_t>(unit_rows) * cols;
        float* dense = scratch(size);
        std::memset(dense, 0, sizeof(float) * size);
        each_kept(unit, [&](int half, int row, const Kept& kept) {
            dequantise(kept, dense + static_cast<std::int64_t>(row) * cols + 16 * half, smaller(16, cols - 16 * half));
        });
        for (int row = unit * unit_rows; row < smaller((unit + 1) * unit_rows, rows); ++row) {
            const float* w = dense + static_cast<std::int64_t>(row % unit_rows) * cols;
            for (int token = 0; token < x.tokens; ++token) {
                const float* from = x.x + token * x.stride;
                v16f sum{};
                float rest = 0;
                int k = 0;
                for (; k + 16 <= cols; k += 16) sum += load<v16f>(w + k) * load<v16f>(from + k);
                for (; k < cols; ++k) rest += w[k] * from[k];
                y[token * stride + row] = sum_lanes(sum) + rest;
            }
        }
    }

    // Sixteen rows spread to a dense panel of bytes in this thread's cache, then the dense kernel; scale 0 where a
    // group is missing. Pays from four tokens on.
    void panels(int unit, const Activation& x, float* y, std::int64_t stride) const {
        const std::size_t code_bytes = static_cast<std::size_t>(2 * x.blocks) * 256;
        const std::size_t slots = static_cast<std::size_t>(2 * x.blocks) * 16, panel_bytes = code_bytes + 4 * slots;
        std::uint8_t* memory = reinterpret_cast<std::uint8_t*>(scratch((2 * panel_bytes + 64) / 4));
        std::memset(memory, 0, 2 * panel_bytes);
        each_kept(unit, [&](int half, int row, const Kept& kept) {
            std::uint8_t* panel = memory + row / 16 * panel_bytes;
            for (int t = 0; t < 16; t += 4) {
                std::uint8_t four[4] = {kept.code(t), kept.code(t + 1), kept.code(t + 2), kept.code(t + 3)};
                std::memcpy(panel + (4 * half + t / 4) * 64 + row % 16 * 4, four, 4);
            }
            float16* scale = reinterpret_cast<float16*>(panel + code_bytes);
            const int to = half * 16 + row % 16;
            scale[to] = kept.scale();
            if constexpr (Z == Zero::integer) reinterpret_cast<std::uint8_t*>(scale + slots)[to] = kept.zero();
            if constexpr (Z == Zero::real) scale[slots + to] = kept.shift();
        });
        for (int part = 0; part < 2; ++part) {
            const int row = unit * unit_rows + 16 * part;
            if (row >= rows) break;
            const std::uint8_t* codes = memory + part * panel_bytes;
            const auto* scale = reinterpret_cast<const float16*>(codes + code_bytes);
            const PackedView panel{x.blocks, 1, middle_, codes, scale, reinterpret_cast<const std::uint8_t*>(scale + slots),
                                   scale + slots};
            if (x.tile_q) {
                tiled_block<8, Z>(panel, x, y + row, stride, rows - row);
                continue;
            }
            for (int token = 0; token < x.tokens;) {
                v16f out[widest];
                const int n = x.tokens - token >= widest ? widest : x.tokens - token >= 4 ? 4 : 1;
                if constexpr (widest == 8)
                    if (n == 8) packed_halves<8, Z, 8>(panel, x.token(token), out);
                if (n == 4) packed_halves<8, Z, 4>(panel, x.token(token), out);
                if (n == 1) packed_halves<8, Z, 1>(panel, x.token(token), out);
                for (int i = 0; i < n; ++i, ++token) store_some(y + token * stride + row, out[i], rows - row);
            }
        }
    }

    int middle_, halves_;
    Buffer start_, stream_;
};

template <int Bits>
Linear* make_group_sparse(int rows, int cols, const GroupSparseQuant& from) {
    if (from.codes.zero_int) return new GroupSparse<Bits, Zero::integer>(rows, cols, from);
    if (from.codes.zero_float) return new GroupSparse<Bits, Zero::real>(rows, cols, from);
    return new GroupSparse<Bits, Zero::middle>(rows, cols, from);
}

inline Linear* group_sparse_quant(int rows, int cols, const GroupSparseQuant& from) {
    return from.codes.bits == 8 ? make_group_sparse<8>(rows, cols, from) : make_group_sparse<4>(rows, cols, from);
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::linear
