// Groups of codes to floating-point weights.
#pragma once

#include "codes.hpp"

namespace gossamer::inline GOSSAMER_ISA {

template <class Real>
GOSSAMER_INLINE void scale_codes(const std::uint8_t* codes, std::int64_t count, Real scale, Real zero, Real minus,
                                 Real* out) {
    std::int64_t j = 0;
    for (; j + chunk <= count; j += chunk)
        for (int lane = 0; lane < chunk; ++lane)
            out[j + lane] = (static_cast<Real>(codes[j + lane]) - zero) * scale - minus;
    for (; j < count; ++j) out[j] = (static_cast<Real>(codes[j]) - zero) * scale - minus;
}

// Groups [first, first + count) to out[count * group]. `codes` has room for one padded group.
template <class Real>
void dequantise(const QuantisedGroups& w, std::int64_t first, std::int64_t count, std::uint8_t* codes, Real* out) {
    for (std::int64_t g = first; g < first + count; ++g, out += w.group) {
        unpack_group(w, g, codes);
        std::uint8_t zero;
        expand_zeros(w, g, 1, &zero);
        scale_codes<Real>(codes, w.group, to_float(w.scale[g]), zero,
                          w.float_zero ? static_cast<Real>(to_float(w.float_zero[g])) : Real(0), out);
    }
}

} // namespace gossamer::inline GOSSAMER_ISA
