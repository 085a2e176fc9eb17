// Group-quantised codes of 2, 4 or 8 bits, rows interleaved by 16.
//
// One vector of 64 bytes holds 32 / Bits codes of 16 rows: code k of a row stands in byte k % 4 of its lane, at bit
// Bits * (k / 4). Four codes a lane meet four broadcast activations in one instruction; no sums across lanes.
#pragma once

#include "codes.inl"
#include "tokens.inl"

namespace gossamer::linear {
inline namespace GOSSAMER_ISA {

enum class Zero { middle, integer, real }; // w = (q - 2^(bits-1)) s, (q - z) s, q s - m

struct PackedView {
    int blocks;       // of 32 columns
    int steps;        // groups hold this many halves of 16 columns
    int middle;       // the zero code of symmetric quantisation
    const std::uint8_t* codes;
    const float16* scale;      // (groups, 16)
    const std::uint8_t* zeros; // (groups, 16), integer
    const float16* shift;      // (groups, 16), real
};

template <int Bits>
struct CodeVector {
    static constexpr int codes = 32 / Bits; // of one row in 64 bytes
};

// What the integer sums start from: minus the zero codes (less the bias) times the sum of the activations.
template <int Bits, Zero Z>
GOSSAMER_INLINE v16i start(v16i zero, int middle, std::int32_t minus) {
    if constexpr (Z == Zero::middle) return v16i{} + minus * (middle - bias<Bits>);
    if constexpr (Z == Zero::integer) return small_product(zero - bias<Bits>, minus);
    return v16i{} - minus * bias<Bits>;
}

// Adds the products of `Vectors` code vectors with int8 activations.
template <int Bits, int Vectors, int N>
GOSSAMER_INLINE void dot_codes(const std::uint8_t* codes, const std::int8_t* q, std::int64_t stride, v16i* acc) {
    using C = CodeVector<Bits>;
#pragma GCC unroll 16
    for (int v = 0; v < Vectors; ++v) {
        const v16u packed = load<v16u>(codes + v * 64);
#pragma GCC unroll 4
        for (int j = 0; j < 8 / Bits; ++j) {
            const v16u four = plane<Bits>(packed, j);
#pragma GCC unroll 8
            for (int n = 0; n < N; ++n)
                acc[n] = dot4<Bits>(acc[n], four, quad(q + n * stride, v * C::codes / 4 + j));
        }
    }
}

// Groups of whole blocks of 32 columns.
template <int Bits, Zero Z, int N>
GOSSAMER_INLINE void packed_wide(const PackedView& a, const Activation& x, v16f* y) {
    constexpr int vectors = act_block * Bits / 32;
    const std::int64_t q_stride = static_cast<std::int64_t>(x.blocks) * act_block;
    const int per_group = a.steps / 2;
    for (int n = 0; n < N; ++n) y[n] = v16f{};
    for (int group = 0, block = 0; block < a.blocks; ++group) {
        const v16f scale = load_halves(a.scale + group * 16);
        v16i zero{};
        v16f shift{};
        if constexpr (Z == Zero::integer) zero = load_bytes(a.zeros + group * 16);
        if constexpr (Z == Zero::real) shift = load_halves(a.shift + group * 16);
        const auto step = [&](v16f* partial) {
            v16i acc[N];
            for (int n = 0; n < N; ++n) {
                const std::int32_t minus = x.sum[n * x.blocks + block];
                acc[n] = start<Bits, Z>(zero, a.middle, minus);
                if constexpr (Z == Zero::real) y[n] += shift * (x.scale[n * x.blocks + block] * static_cast<float>(minus));
            }
            dot_codes<Bits, vectors, N>(a.codes + static_cast<std::int64_t>(block) * vectors * 64,
                                        x.q + block * act_block, q_stride, acc);
            for (int n = 0; n < N; ++n) partial[n] = to_floats(acc[n]);
        };
        if (per_group == 1) {
            v16f partial[N];
            step(partial);
            for (int n = 0; n < N; ++n) y[n] += partial[n] * (scale * x.scale[n * x.blocks + block]);
            ++block;
            continue;
        }
        v16f total[N] = {};
        for (const int end = smaller(block + per_group, a.blocks); block < end; ++block) {
            v16f partial[N];
            step(partial);
            for (int n = 0; n < N; ++n) total[n] += partial[n] * x.scale[n * x.blocks + block];
        }
        for (int n = 0; n < N; ++n) y[n] += total[n] * scale;
    }
}

// Groups of any multiple of 16 columns.
template <int Bits, Zero Z, int N>
GOSSAMER_INLINE void packed_halves(const PackedView& a, const Activation& x, v16f* y) {
    constexpr int vectors = 16 * Bits / 32;
    const std::int64_t q_stride = static_cast<std::int64_t>(x.blocks) * act_block;
    for (int n = 0; n < N; ++n) y[n] = v16f{};
    const int halves = (x.cols + 15) / 16;
    for (int group = 0, half = 0; half < halves; ++group) {
        const v16f scale = load_halves(a.scale + group * 16);
        v16i zero{};
        v16f shift{};
        if constexpr (Z == Zero::integer) zero = load_bytes(a.zeros + group * 16);
        if constexpr (Z == Zero::real) shift = load_halves(a.shift + group * 16);
        for (const int end = smaller(half + a.steps, halves); half < end; ++half) {
            v16i acc[N];
            for (int n = 0; n < N; ++n) {
                const std::int32_t minus = x.half[n * 2 * x.blocks + half];
                acc[n] = start<Bits, Z>(zero, a.middle, minus);
                if constexpr (Z == Zero::real) y[n] -= shift * x.mean[n * 2 * x.blocks + half];
            }
            dot_codes<Bits, vectors, N>(a.codes + static_cast<std::int64_t>(half) * vectors * 64, x.q + half * 16,
                                        q_stride, acc);
            for (int n = 0; n < N; ++n)
                y[n] += to_floats(acc[n]) * (scale * x.scale[n * x.blocks + half / 2]);
        }
    }
}

// Float activations, kept exactly.
template <int Bits, Zero Z, int N>
void packed_floats(const PackedView& a, const Activation& x, v16f* y) {
    using C = CodeVector<Bits>;
    constexpr std::uint32_t one = (1u << Bits) - 1;
    for (int n = 0; n < N; ++n) y[n] = v16f{};
    for (int group = 0, k = 0; k < x.cols; ++group) {
        v16f sums[N] = {};
        float total[N] = {};
        const int end = smaller(k + 16 * a.steps, x.cols);
        for (; k < end; ++k) {
            const int inside = k % C::codes;
            const v16u packed = load<v16u>(a.codes + static_cast<std::int64_t>(k / C::codes) * 64);
            const v16f code = to_floats((v16i)((packed >> (8 * (inside % 4) + Bits * (inside / 4))) & one));
            for (int n = 0; n < N; ++n) {
                sums[n] += code * x.x[n * x.stride + k];
                total[n] += x.x[n * x.stride + k];
            }
        }
        const v16f scale = load_halves(a.scale + group * 16);
        v16f shift;
        if constexpr (Z == Zero::middle) shift = scale * static_cast<float>(a.middle);
        if constexpr (Z == Zero::integer) shift = scale * to_floats(load_bytes(a.zeros + group * 16));
        if constexpr (Z == Zero::real) shift = load_halves(a.shift + group * 16);
        for (int n = 0; n < N; ++n) y[n] += scale * sums[n] - shift * total[n];
    }
}

template <int Bits, Zero Z> // in tiled.inl
void tiled_block(const PackedView& a, const Activation& x, float* y, std::int64_t stride, int count);

template <int Bits>
inline void put_code(std::uint8_t* codes, std::int64_t k, int lane, std::uint8_t code) {
    constexpr int per = CodeVector<Bits>::codes;
    codes[(k / per) * 64 + lane * 4 + k % 4] |= static_cast<std::uint8_t>(code << (Bits * (k % per / 4)));
}

template <int Bits>
inline std::uint8_t get_code(const std::uint8_t* codes, std::int64_t k, int lane) {
    constexpr int per = CodeVector<Bits>::codes;
    return (codes[(k / per) * 64 + lane * 4 + k % 4] >> (Bits * (k % per / 4))) & ((1 << Bits) - 1);
}

template <int Bits, Zero Z>
class Packed final : public Linear {
public:
    explicit Packed(const GroupQuant& from)
        : Linear(from.rows, from.cols, Bits == 8 ? "packed-int8" : Bits == 4 ? "packed-int4" : "packed-int2"),
          blocks_((from.cols + 31) / 32), middle_(1 << (from.bits - 1)),
          groups_((from.cols + from.group - 1) / from.group),
          steps_(groups_ == 1 ? 2 * blocks_ : from.group / 16), tiles_((from.rows + 15) / 16),
          codes_(static_cast<std::size_t>(tiles_) * block_bytes()), scale_(std::size_t(2) * tiles_ * groups_ * 16),
          zero_(Z == Zero::middle ? 0 : std::size_t(Z == Zero::real ? 2 : 1) * tiles_ * groups_ * 16) {
        Buffer unpacked(static_cast<std::size_t>(padded_group(from)));
        for (int row = 0; row < rows; ++row) {
            std::uint8_t* codes = codes_.as<std::uint8_t>() + (row / 16) * block_bytes();
            for (int group = 0; group < groups_; ++group) {
                const std::int64_t flat = static_cast<std::int64_t>(row) * groups_ + group;
                const std::int64_t slot = (static_cast<std::int64_t>(row / 16) * groups_ + group) * 16 + row % 16;
                unpack_group(from, flat, unpacked.as<std::uint8_t>());
                const int start = group * from.group, count = smaller(from.group, cols - start);
                for (int k = 0; k < count; ++k)
                    put_code<Bits>(codes, start + k, row % 16, unpacked.as<std::uint8_t>()[k]);
                scale_.as<float16>()[slot] = from.scale[flat];
                if constexpr (Z == Zero::integer) zero_.as<std::uint8_t>()[slot] = zero_code(from, flat);
                if constexpr (Z == Zero::real) zero_.as<float16>()[slot] = from.zero_float[flat];
            }
        }
    }

    void run(int first, int last, const Activation& x, float* y, std::int64_t stride) const override {
        if (!x.tile_q) return run_blocks(*this, rows, first, last, x, y, stride);
        for (int block = 2 * first; block < smaller(2 * last, tiles_); ++block)
            tiled_block<Bits, Z>(view(block), x, y + block * 16, stride, rows - block * 16);
    }

    template <int N>
    void tile(int block, const Activation& x, v16f* y) const {
        const PackedView a = view(block);
        if (!x.q)
            packed_floats<Bits, Z, N>(a, x, y);
        else if (a.steps % 2 == 0)
            packed_wide<Bits, Z, N>(a, x, y);
        else
            packed_halves<Bits, Z, N>(a, x, y);
    }

    void row(int index, float* out) const override {
        const PackedView a = view(index / 16);
        const int lane = index % 16;
        for (int k = 0; k < cols; ++k) {
            const int slot = k / (16 * steps_) * 16 + lane;
            const float scale = to_float(a.scale[slot]);
            float shift = scale * static_cast<float>(middle_);
            if constexpr (Z == Zero::integer) shift = scale * static_cast<float>(a.zeros[slot]);
            if constexpr (Z == Zero::real) shift = to_float(a.shift[slot]);
            out[k] = scale * static_cast<float>(get_code<Bits>(a.codes, k, lane)) - shift;
        }
    }

    std::size_t bytes() const override { return codes_.size() + scale_.size() + zero_.size(); }

private:
    std::int64_t block_bytes() const { return static_cast<std::int64_t>(blocks_) * act_block * 16 * Bits / 8; }

    PackedView view(int block) const {
        const std::int64_t slot = static_cast<std::int64_t>(block) * groups_ * 16;
        return {blocks_, steps_, middle_, codes_.as<std::uint8_t>() + block * block_bytes(),
                scale_.as<float16>() + slot, zero_.as<std::uint8_t>() + slot, zero_.as<float16>() + slot};
    }

    int blocks_, middle_, groups_, steps_, tiles_;
    Buffer codes_, scale_, zero_;
};

template <int Bits>
Linear* make_packed(const GroupQuant& from) {
    if (from.zero_int) return new Packed<Bits, Zero::integer>(from);
    if (from.zero_float) return new Packed<Bits, Zero::real>(from);
    return new Packed<Bits, Zero::middle>(from);
}

inline Linear* group_quant(const GroupQuant& from) {
    if (from.bits == 8) return make_packed<8>(from);
    if (from.bits == 2) return make_packed<2>(from);
    return make_packed<4>(from); // 3 bits are kept in 4
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::linear
