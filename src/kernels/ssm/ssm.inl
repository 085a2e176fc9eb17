// The one template of the family; each <isa>.cpp includes it and exports its table.
#include "ssm.hpp"

#include "scan.inl"
#include "vandermonde.inl"

namespace gossamer::ssm {
inline namespace GOSSAMER_ISA {

template <class Real>
inline constexpr Entries<Real> entries{kernel<Real>, kernel_back<Real>, scan<Real>, scan_back<Real>};

inline constexpr Table kernels{entries<float>, entries<double>};

} // namespace GOSSAMER_ISA
} // namespace gossamer::ssm
