// Reads quantised groups as files pack them (see gossamer._kernels.packing).
#pragma once

#include "lanes.inl"

namespace gossamer::linear {
inline namespace GOSSAMER_ISA {

inline int padded_group(const GroupQuant& a) { return (a.group + 7) / 8 * 8; }

inline std::int64_t group_bytes(const GroupQuant& a) { return static_cast<std::int64_t>(a.bits) * padded_group(a) / 8; }

// The padded codes of flat group `index`, one a byte.
inline void unpack_group(const GroupQuant& a, std::int64_t index, std::uint8_t* out) {
    const int size = padded_group(a);
    const std::uint8_t* p = a.qweight + index * group_bytes(a);
    if (a.bits == 8) {
        std::memcpy(out, p, size);
    } else if (a.bits == 4) {
        for (int t = 0; t < size / 2; ++t) {
            out[t] = p[t] & 15;
            out[t + size / 2] = p[t] >> 4;
        }
    } else { // 2 bits, and 3 with the third bits behind
        const int quarter = size / 4, eighth = size / 8;
        for (int j = 0; j < 4; ++j)
            for (int t = 0; t < quarter; ++t) out[j * quarter + t] = (p[t] >> (2 * j)) & 3;
        if (a.bits == 3)
            for (int j = 0; j < 8; ++j)
                for (int t = 0; t < eighth; ++t) out[j * eighth + t] |= ((p[quarter + t] >> j) & 1) << 2;
    }
}

inline std::uint8_t zero_code(const GroupQuant& a, std::int64_t index) {
    if (!a.zero_int) return static_cast<std::uint8_t>(1 << (a.bits - 1));
    if (a.bits == 8) return a.zero_int[index];
    return (a.zero_int[index / 2] >> (index % 2 * 4)) & 15;
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::linear
