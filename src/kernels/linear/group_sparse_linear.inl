// The prepared group-sparse matrix: repacking, one token by slabs, many tokens by dense panels of 16 rows.
#pragma once

#include "group_sparse.inl"

namespace gossamer::linear {
inline namespace GOSSAMER_ISA {

template <int Bits, Zero Z>
class GroupSparse final : public Linear {
public:
    static constexpr int slabs_per_unit = unit_rows / 4, step_bytes = 8 * Bits;

    GroupSparse(int rows, int cols, const GroupSparseQuant& from)
        : Linear(rows, cols, Bits == 8 ? "group-sparse-int8" : "group-sparse-int4"), middle_(1 << (from.codes.bits - 1)),
          slabs_(sizeof(Slab) * units() * slabs_per_unit), order_(sizeof(std::int32_t) * units() * unit_rows) {
        Slab* slabs = slabs_.as<Slab>();
        std::int32_t* order = order_.as<std::int32_t>();
        std::int64_t steps = 0;
        for (int unit = 0; unit < units(); ++unit) {
            std::int32_t* mine = order + unit * unit_rows;
            int length[unit_rows];
            for (int i = 0; i < unit_rows; ++i) { // insertion sort: stable, longest first; missing rows come last
                const int row = unit * unit_rows + i;
                const int own = row < rows ? sixteens(from, row) : -1;
                int at = i;
                for (; at > 0 && length[at - 1] < own; --at) length[at] = length[at - 1], mine[at] = mine[at - 1];
                length[at] = own;
                mine[at] = row;
            }
            for (int s = 0; s < slabs_per_unit; ++s) {
                slabs[unit * slabs_per_unit + s] = {steps, length[4 * s] < 0 ? 0 : length[4 * s]};
                steps += slabs[unit * slabs_per_unit + s].steps;
            }
        }
        codes_ = Buffer(static_cast<std::size_t>(steps) * step_bytes);
        col_ = Buffer(8 * static_cast<std::size_t>(steps));
        scale_ = Buffer(8 * static_cast<std::size_t>(steps));
        if (Z != Zero::middle) zero_ = Buffer((Z == Zero::real ? 8 : 4) * static_cast<std::size_t>(steps));
        Buffer unpacked(static_cast<std::size_t>(padded_group(from.codes)));
        for (int at = 0; at < units() * unit_rows; ++at)
            if (order[at] < rows) fill(from, order[at], slabs[at / 4].start, at % 4, unpacked.as<std::uint8_t>());
    }

    void run(int first, int last, const Activation& x, float* y, std::int64_t stride) const override {
        for (int unit = first; unit < last; ++unit) {
            if (!x.q)
                for (int i = 0; i < unit_rows; ++i) exact_row(unit * unit_rows + i, x, y, stride);
            else if (x.tokens >= 4)
                panels(unit, x, y, stride);
            else
                for (int token = 0; token < x.tokens; ++token) one_token(unit, x.token(token), y + token * stride);
        }
    }

    void row(int index, float* out) const override {
        std::memset(out, 0, sizeof(float) * cols);
        int at = index / unit_rows * unit_rows;
        while (order_.as<std::int32_t>()[at] != index) ++at;
        const Slab& slab = slabs_.as<Slab>()[at / 4];
        for (int i = 0; i < slab.steps; ++i) {
            const std::int64_t slot = 4 * (slab.start + i) + at % 4;
            const int col = col_.as<std::uint16_t>()[slot];
            if (scale_.as<float16>()[slot] == 0) continue; // padding
            const v16f w = weights(slab.start + i, at % 4);
            for (int k = col; k < smaller(col + 16, cols); ++k) out[k] = w[k - col];
        }
    }

    std::size_t bytes() const override { return codes_.size() + col_.size() + scale_.size() + zero_.size(); }

private:
    // Groups of 16 that row holds, parts that lie wholly behind the last column left out.
    int sixteens(const GroupSparseQuant& from, int row) const {
        int count = 0;
        for (int g = from.row_ptr[row]; g < from.row_ptr[row + 1]; ++g)
            count += smaller(from.codes.group / 16, (cols - from.col[g] * from.codes.group + 15) / 16);
        return count;
    }

    void fill(const GroupSparseQuant& from, int row, std::int64_t step, int lane, std::uint8_t* unpacked) {
        const int group = from.codes.group;
        for (std::int64_t g = from.row_ptr[row]; g < from.row_ptr[row + 1]; ++g) {
            unpack_group(from.codes, g, unpacked);
            for (int part = 0; part < group; part += 16) {
                const int col = from.col[g] * group + part;
                if (col >= cols) break;
                std::uint8_t* bytes = codes_.as<std::uint8_t>() + step * step_bytes;
                for (int t = 0; t < 16; ++t) {
                    if constexpr (Bits == 8)
                        bytes[16 * lane + t] = unpacked[part + t];
                    else
                        bytes[lane % 2 * 16 + t] |= static_cast<std::uint8_t>(unpacked[part + t] << (lane / 2 * 4));
                }
                const std::int64_t slot = 4 * step + lane;
                col_.as<std::uint16_t>()[slot] = static_cast<std::uint16_t>(col);
                scale_.as<float16>()[slot] = from.codes.scale[g];
                if constexpr (Z == Zero::integer) zero_.as<std::uint8_t>()[slot] = zero_code(from.codes, g);
                if constexpr (Z == Zero::real) zero_.as<float16>()[slot] = from.codes.zero_float[g];
                ++step;
            }
        }
    }

    SparseView view() const {
        return {codes_.as<std::uint8_t>(), col_.as<std::uint16_t>(), scale_.as<float16>(), zero_.as<std::uint8_t>(),
                zero_.as<float16>(), middle_};
    }

    void one_token(int unit, const Activation& x, float* y) const {
        if (x.blocks <= 32)
            slabs_of(unit, Lookup<1>(x), x, y);
        else if (x.blocks <= 64)
            slabs_of(unit, Lookup<2>(x), x, y);
        else
            slabs_of(unit, Lookup<0>(x), x, y);
    }

    template <int Registers>
    void slabs_of(int unit, const Lookup<Registers>& lookup, const Activation& x, float* y) const {
        const SparseView a = view();
        for (int s = 0; s < slabs_per_unit; ++s) {
            float out[4];
            sparse_slab<Bits, Z, Registers>(a, slabs_.as<Slab>()[unit * slabs_per_unit + s], lookup, x.q, out);
            const std::int32_t* order = order_.as<std::int32_t>() + unit * unit_rows + 4 * s;
            for (int i = 0; i < 4; ++i)
                if (order[i] < rows) y[order[i]] = out[i];
        }
    }

    std::uint8_t code(std::int64_t step, int lane, int t) const {
        const std::uint8_t* bytes = codes_.as<std::uint8_t>() + step * step_bytes;
        return Bits == 8 ? bytes[16 * lane + t] : (bytes[lane % 2 * 16 + t] >> (lane / 2 * 4)) & 15;
    }

    // The 16 dequantised entries of one group.
    v16f weights(std::int64_t step, int lane) const {
        const std::int64_t slot = 4 * step + lane;
        const float scale = to_float(scale_.as<float16>()[slot]);
        float shift = scale * static_cast<float>(middle_);
        if constexpr (Z == Zero::integer) shift = scale * static_cast<float>(zero_.as<std::uint8_t>()[slot]);
        if constexpr (Z == Zero::real) shift = to_float(zero_.as<float16>()[slot]);
        v16f w;
        for (int t = 0; t < 16; ++t) w[t] = scale * static_cast<float>(code(step, lane, t)) - shift;
        return w;
    }

    void exact_row(int at, const Activation& x, float* y, std::int64_t stride) const {
        const int row = order_.as<std::int32_t>()[at];
        if (row >= rows) return;
        const Slab& slab = slabs_.as<Slab>()[at / 4];
        float* dense = scratch(static_cast<std::size_t>(cols));
        this->row(row, dense);
        for (int token = 0; token < x.tokens; ++token) {
            const float* from = x.x + token * x.stride;
            v16f sum{};
            float rest = 0;
            for (int i = 0; i < slab.steps; ++i) {
                const int col = col_.as<std::uint16_t>()[4 * (slab.start + i) + at % 4];
                if (scale_.as<float16>()[4 * (slab.start + i) + at % 4] == 0) continue;
                if (col + 16 <= cols)
                    sum += load<v16f>(dense + col) * load<v16f>(from + col);
                else
                    for (int k = col; k < cols; ++k) rest += dense[k] * from[k];
            }
            y[token * stride + row] = sum_lanes(sum) + rest;
        }
    }

    // Sixteen rows spread to a dense panel of bytes in this thread's cache, then the dense kernel; scale 0 where a
    // group is missing. Pays from four tokens on.
    void panels(int unit, const Activation& x, float* y, std::int64_t stride) const {
        const int halves = 2 * x.blocks;
        const std::size_t code_bytes = static_cast<std::size_t>(halves) * 256, slots = static_cast<std::size_t>(halves) * 16;
        std::uint8_t* memory = reinterpret_cast<std::uint8_t*>(scratch((code_bytes + 4 * slots + 64) / 4));
        float16* scale = reinterpret_cast<float16*>(memory + code_bytes);
        float16* shift = scale + slots;
        for (int part = 0; part < 2; ++part) {
            const std::int32_t* order = order_.as<std::int32_t>() + unit * unit_rows + 16 * part;
            if (order[0] >= rows) break;
            std::memset(memory, 0, code_bytes + 4 * slots);
            for (int lane = 0; lane < 16; ++lane) spread(unit * unit_rows + 16 * part + lane, lane, memory, scale, shift);
            const PackedView panel{x.blocks, 1, middle_, memory, scale, reinterpret_cast<std::uint8_t*>(shift), shift};
            for (int token = 0; token < x.tokens;) {
                v16f out[8];
                const int n = x.tokens - token >= 8 ? 8 : x.tokens - token >= 4 ? 4 : 1;
                if (n == 8) packed_halves<8, Z, 8>(panel, x.token(token), out);
                if (n == 4) packed_halves<8, Z, 4>(panel, x.token(token), out);
                if (n == 1) packed_halves<8, Z, 1>(panel, x.token(token), out);
                for (int i = 0; i < n; ++i, ++token)
                    for (int lane = 0; lane < 16; ++lane)
                        if (order[lane] < rows) y[token * stride + order[lane]] = out[i][lane];
            }
        }
    }

    void spread(int at, int lane, std::uint8_t* panel, float16* scale, float16* shift) const {
        const Slab& slab = slabs_.as<Slab>()[at / 4];
        for (int i = 0; i < slab.steps; ++i) {
            const std::int64_t step = slab.start + i, slot = 4 * step + at % 4;
            if (scale_.as<float16>()[slot] == 0) continue;
            const int col = col_.as<std::uint16_t>()[slot];
            for (int t = 0; t < 16; ++t) panel[(col + t) / 4 * 64 + lane * 4 + t % 4] = code(step, at % 4, t);
            const int to = col / 16 * 16 + lane;
            scale[to] = scale_.as<float16>()[slot];
            if constexpr (Z == Zero::integer)
                reinterpret_cast<std::uint8_t*>(shift)[to] = zero_.as<std::uint8_t>()[slot];
            if constexpr (Z == Zero::real) shift[to] = zero_.as<float16>()[slot];
        }
    }

    int middle_;
    Buffer slabs_, order_, codes_, col_, scale_, zero_;
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
