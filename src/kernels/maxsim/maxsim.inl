// The one template of the family; each <isa>.cpp includes it and exports its table.
#include "encode.inl"

#include "chamfer.inl"

namespace gossamer::maxsim {
inline namespace GOSSAMER_ISA {

inline constexpr Table kernels{encode, chamfer};

} // namespace GOSSAMER_ISA
} // namespace gossamer::maxsim
