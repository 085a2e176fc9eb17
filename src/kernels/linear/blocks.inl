// Floats in rows of which a block of 16 sees a range of columns, lanes taking `Period` of them in turn: both factors
// of a Monarch matrix. Columns at the end (the tail) are seen by all lanes.
#pragma once

#include "dense.inl"

namespace gossamer::linear {
inline namespace GOSSAMER_ISA {

template <int Period>
GOSSAMER_INLINE v16f in_turn(const float* p) {
#if defined(__AVX512F__)
    if constexpr (Period == 4) return (v16f)_mm512_broadcast_f32x4(_mm_loadu_ps(p));
    if constexpr (Period == 8)
        return (v16f)_mm512_broadcast_f64x4(_mm256_castps_pd(_mm256_loadu_ps(p)));
#elif defined(__AVX2__)
    if constexpr (Period == 4)
        return v16f::each([&](int) { return (float8)_mm256_broadcast_ps(reinterpret_cast<const __m128*>(p)); });
    if constexpr (Period == 8) return v16f::each([&](int) { return (float8)_mm256_loadu_ps(p); });
#endif
    float lanes[16];
    for (int i = 0; i < 16; ++i) lanes[i] = p[i % Period];
    return load<v16f>(lanes);
}

template <class Weight, int Period>
class Blocks final : public Linear {
public:
    explicit Blocks(const BlockRows& from)
        : Linear(from.rows, from.cols, sizeof(Weight) == 4 ? "blocks-float32" : "blocks-bfloat16"), tail_(from.tail),
          ranges_(sizeof(Range) * ((from.rows + 15) / 16)), weight_(sizeof(Weight) * from.count) {
        std::int64_t at = 0;
        for (int block = 0; block * 16 < from.rows; ++block) {
            ranges_.as<Range>()[block] = {at, from.start[block], from.depth[block]};
            at += 16 * (static_cast<std::int64_t>(from.depth[block]) + tail_);
        }
        std::memcpy(weight_.as<Weight>(), from.weight, sizeof(Weight) * from.count);
    }

    void run(int first, int last, const Activation& x, float* y, std::int64_t stride) const override {
        run_blocks(*this, rows, first, last, x, y, stride);
    }

    void row(int index, float* out) const override {
        const Range& range = ranges_.as<Range>()[index / 16];
        const Weight* w = weight_.as<Weight>() + range.weight;
        for (int k = 0; k < cols; ++k) out[k] = 0;
        for (int k = 0; k < range.depth; ++k)
            out[range.start + k * Period + index % Period] = load_weights(w + 16 * k)[index % 16];
        for (int k = 0; k < tail_; ++k) out[cols - tail_ + k] = load_weights(w + 16 * (range.depth + k))[index % 16];
    }

    std::size_t bytes() const override { return weight_.size(); }

    template <int N>
    void tile(int block, const Activation& x, v16f* y) const {
        constexpr int chains = N == 1 ? 4 : N == 2 ? 2 : 1; // enough to hide the latency of an FMA
        const Range& range = ranges_.as<Range>()[block];
        const Weight* w = weight_.as<Weight>() + range.weight;
        const float* seen = x.x + range.start;
        v16f sums[chains][N] = {};
        const auto step = [&](int chain, int k) {
            const v16f weights = load_weights(w + static_cast<std::int64_t>(k) * 16);
            for (int n = 0; n < N; ++n) {
                const float* p = seen + n * x.stride + static_cast<std::int64_t>(k) * Period;
                if constexpr (Period == 1)
                    sums[chain][n] += weights * *p;
                else
                    sums[chain][n] += weights * in_turn<Period>(p);
            }
        };
        int k = 0;
        for (; k + chains <= range.depth; k += chains)
            for (int chain = 0; chain < chains; ++chain) step(chain, k + chain);
        for (; k < range.depth; ++k) step(0, k);
        w += static_cast<std::int64_t>(range.depth) * 16;
        for (k = 0; k < tail_; ++k) {
            const v16f weights = load_weights(w + static_cast<std::int64_t>(k) * 16);
            for (int n = 0; n < N; ++n) sums[0][n] += weights * x.x[n * x.stride + cols - tail_ + k];
        }
        for (int n = 0; n < N; ++n) {
            v16f total = sums[0][n];
            for (int chain = 1; chain < chains; ++chain) total += sums[chain][n];
            y[n] = total;
        }
    }

private:
    struct Range {
        std::int64_t weight;
        int start, depth;
    };
    int tail_;
    Buffer ranges_, weight_;
};

template <class Weight>
Linear* blocks_of(const BlockRows& from) {
    switch (from.period) {
        case 1: return new Blocks<Weight, 1>(from);
        case 2: return new Blocks<Weight, 2>(from);
        case 4: return new Blocks<Weight, 4>(from);
        case 8: return new Blocks<Weight, 8>(from);
        default: return new Blocks<Weight, 16>(from);
    }
}

inline Linear* blocks(const BlockRows& from) {
    return from.bfloat16 ? blocks_of<std::uint16_t>(from) : blocks_of<float>(from);
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::linear
