// Groups of packed codes with their scales and zero points: a view that quant and gqs share.
#pragma once

#include <cstdint>

namespace gossamer {

// w = (q - z) scale. Exactly one of: integer zeros (nibbles for up to 4 bits, else bytes, in flat order), float
// zeros (scale * z), or neither: z = 2^(bits - 1).
struct QuantisedGroups {
    int bits;
    std::int64_t group, count; // codes in a group; groups in all
    const std::uint8_t* codes; // group_bytes(*this) each, see codes.hpp
    const std::uint16_t* scale;
    const std::uint8_t* integer_zero;
    const std::uint16_t* float_zero;
};

} // namespace gossamer
