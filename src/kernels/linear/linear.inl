// Everything that is compiled once per ISA; each <isa>.cpp includes it and exports its table.
#include "bitmap.inl"
#include "blocks.inl"
#include "dense.inl"
#include "group_sparse_linear.inl"
#include "nm.inl"
#include "packed.inl"
#include "quantise.inl"
#include "tiled.inl"

namespace gossamer::linear {
inline namespace GOSSAMER_ISA {

inline Linear* dense_f32(int rows, int cols, const float* weight) { return new Dense<float>(rows, cols, weight); }
inline Linear* dense_bf16(int rows, int cols, const std::uint16_t* weight) {
    return new Dense<std::uint16_t>(rows, cols, weight);
}
inline Linear* bitmap(int rows, int cols, const float* weight) { return new Bitmap(rows, cols, weight); }

inline constexpr Table kernels{dense_f32, dense_bf16, group_quant, group_sparse_quant, bitmap, nm, blocks, quantise};

} // namespace GOSSAMER_ISA
} // namespace gossamer::linear
