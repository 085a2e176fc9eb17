// Rows as float32, whatever they are stored in.
#pragma once

#include "../dispatch/simd.hpp"
#include "maxsim.hpp"

namespace gossamer::maxsim {
inline namespace GOSSAMER_ISA {

using V = simd<float>;

struct bfloat16 {
    std::uint16_t bits;
};

inline void widen(const float* from, std::int64_t count, float* to) {
    std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(float));
}

inline void widen(const float16* from, std::int64_t count, float* to) { to_floats(from, count, to); }

inline void widen(const bfloat16* from, std::int64_t count, float* to) {
    for (std::int64_t i = 0; i < count; ++i) {
        const std::uint32_t bits = static_cast<std::uint32_t>(from[i].bits) << 16;
        std::memcpy(to + i, &bits, sizeof bits);
    }
}

// `count` rows as float32: where they are, or in `room`.
inline const float* wide_rows(const float* from, std::int64_t, float*) { return from; }

template <class Value>
const float* wide_rows(const Value* from, std::int64_t count, float* room) {
    widen(from, count, room);
    return room;
}

template <class Body>
void with_type(const Sets& sets, const Body& body) {
    switch (sets.stored) {
        case Stored::float32: return body(static_cast<const float*>(sets.vectors));
        case Stored::float16: return body(static_cast<const float16*>(sets.vectors));
        case Stored::bfloat16: return body(static_cast<const bfloat16*>(sets.vectors));
    }
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::maxsim
