// The loop that every interleaved kernel shares: units of 32 rows as blocks of 16, tokens in tiles of 8 (AVX-512), 4, 2, 1.
#pragma once

#include "lanes.inl"

namespace gossamer::linear {
inline namespace GOSSAMER_ISA {

// Tile supplies: template <int N> void tile(int block, const Activation& x (first token), v16f* y) const
template <class Tile>
void run_blocks(const Tile& kernel, int rows, int first, int last, const Activation& x, float* y, std::int64_t stride) {
    const int blocks = smaller(last * unit_rows / 16, (rows + 15) / 16);
    for (int block = first * unit_rows / 16; block < blocks; ++block) {
        const int count = rows - block * 16;
        v16f out[widest];
        int token = 0;
        const auto emit = [&](int n) {
            for (int i = 0; i < n; ++i) store_some(y + (token + i) * stride + block * 16, out[i], count);
            token += n;
        };
        for (; token + widest <= x.tokens;) kernel.template tile<widest>(block, x.token(token), out), emit(widest);
        if constexpr (widest > 4)
            if (token + 4 <= x.tokens) kernel.template tile<4>(block, x.token(token), out), emit(4);
        if (token + 2 <= x.tokens) kernel.template tile<2>(block, x.token(token), out), emit(2);
        if (token < x.tokens) kernel.template tile<1>(block, x.token(token), out), emit(1);
    }
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::linear
