// Dense float32 and bfloat16, rows interleaved by 16: [row block][k][16].
#pragma once

#include "tokens.inl"

namespace gossamer::linear {
inline namespace GOSSAMER_ISA {

GOSSAMER_INLINE v16f load_weights(const float* p) { return load<v16f>(p); }
GOSSAMER_INLINE v16f load_weights(const std::uint16_t* p) { return load_brain(p); }

template <class Weight>
class Dense final : public Linear {
public:
    Dense(int rows, int cols, const Weight* weight)
        : Linear(rows, cols, sizeof(Weight) == 4 ? "dense-float32" : "dense-bfloat16"),
          weight_(sizeof(Weight) * static_cast<std::size_t>((rows + 15) / 16 * 16) * cols) {
        Weight* to = weight_.as<Weight>();
        for (std::int64_t row = 0; row < rows; ++row)
            for (std::int64_t k = 0; k < cols; ++k)
                to[((row / 16) * cols + k) * 16 + row % 16] = weight[row * cols + k];
    }

    void run(int first, int last, const Activation& x, float* y, std::int64_t stride) const override {
        run_blocks(*this, rows, first, last, x, y, stride);
    }

    void row(int index, float* out) const override {
        for (std::int64_t k = 0; k < cols; ++k)
            out[k] = load_weights(weight_.as<Weight>() + ((index / 16) * static_cast<std::int64_t>(cols) + k) * 16)[index % 16];
    }

    std::size_t bytes() const override { return weight_.size(); }

    template <int N>
    void tile(int block, const Activation& x, v16f* y) const {
        constexpr int chains = N == 1 ? 4 : N == 2 ? 2 : 1; // enough to hide the latency of an FMA
        const Weight* w = weight_.as<Weight>() + static_cast<std::int64_t>(block) * cols * 16;
        v16f sums[chains][N] = {};
        int k = 0;
        for (; k + chains <= cols; k += chains)
            for (int c = 0; c < chains; ++c) {
                const v16f weights = load_weights(w + static_cast<std::int64_t>(k + c) * 16);
                for (int n = 0; n < N; ++n) sums[c][n] += weights * x.x[n * x.stride + k + c];
            }
        for (; k < cols; ++k) {
            const v16f weights = load_weights(w + static_cast<std::int64_t>(k) * 16);
            for (int n = 0; n < N; ++n) sums[0][n] += weights * x.x[n * x.stride + k];
        }
        for (int n = 0; n < N; ++n) {
            v16f total = sums[0][n];
            for (int c = 1; c < chains; ++c) total += sums[c][n];
            y[n] = total;
        }
    }

private:
    Buffer weight_;
};

} // namespace GOSSAMER_ISA
} // namespace gossamer::linear
