// A run of packed groups times rounded activations: sum over groups of scale * (codes - zero) . x, integers exact.
//
// The activations come from a Source: where quant reads them in order, gqs gathers them by the groups' columns. The
// run may be read beyond its end as long as `readable` groups follow; what is beyond meets activations of zero.
#pragma once

#include "activations.hpp"

#include <utility>

namespace gossamer::inline GOSSAMER_ISA {

struct Run {
    const std::uint8_t* codes;
    std::int64_t groups, readable, group; // groups to multiply; groups in memory; codes in a group
    const float* scale;                   // one a group; finite and readable a strip beyond the end
    const std::uint8_t* zero;
};

enum class Zeros { one, each, none }; // the same for all groups; one a group; a float correction made elsewhere

// Activations in order: records of a strip.
template <int Columns>
struct InOrder {
    static constexpr int unit = strip, width = Columns;
    const std::byte* records[Columns];

    template <int Groups, int Repeat>
    GOSSAMER_INLINE void load(int c, std::int64_t at, std::int64_t, int, int, Bytes::type& x, Floats::type& scale) const {
        const std::byte* p = records[c] + at * (2 * strip);
        x = Bytes::load(p);
        scale = Floats::load(p + strip);
    }
};

// Activations of group column[g]: records of a chunk; `beyond` is the number of the group of zeros.
template <int Columns, class Index>
struct Gathered {
    static constexpr int unit = chunk, width = Columns;
    const std::byte* records[Columns];
    const Index* column;
    std::int64_t beyond, repeat; // chunks in a group

    GOSSAMER_INLINE const std::byte* group(int c, std::int64_t g, bool inside) const {
        return records[c] + (inside ? static_cast<std::int64_t>(column[g]) : beyond) * repeat * (2 * chunk);
    }

    template <int Groups, int Repeat> // the strip `which` of group g, or groups g, g + 1, ... of which `valid` exist
    GOSSAMER_INLINE void load(int c, std::int64_t, std::int64_t g, int which, [[maybe_unused]] int valid, Bytes::type& x,
                              Floats::type& scale) const {
#if defined(__AVX512F__)
        __m512i low, high; // code, scale, code, scale: 16 bytes each
        if constexpr (Groups == 4) {
            const auto half = [&](int j) { return (const __m256i*)group(c, g + j, j < valid); };
            low = _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256(half(0))), _mm256_loadu_si256(half(1)), 1);
            high = _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256(half(2))), _mm256_loadu_si256(half(3)), 1);
        } else if constexpr (Groups == 2) {
            low = _mm512_loadu_si512(group(c, g, true));
            high = _mm512_loadu_si512(group(c, g + 1, valid > 1));
        } else {
            const std::byte* p = group(c, g, true) + which * (2 * strip);
            low = _mm512_loadu_si512(p);
            high = _mm512_loadu_si512(p + 64);
        }
        x = (Bytes::type)_mm512_shuffle_i64x2(low, high, 0x88);
        scale = (Floats::type)_mm512_shuffle_i64x2(low, high, 0xdd);
#elif defined(__AVX2__)
        const std::byte *p = group(c, g, true) + which * (2 * strip), *q = p + 32;
        if constexpr (Groups == 2) q = group(c, g + 1, valid > 1);
        const __m256i low = _mm256_loadu_si256((const __m256i*)p), high = _mm256_loadu_si256((const __m256i*)q);
        x = (Bytes::type)_mm256_permute2x128_si256(low, high, 0x20);
        scale = (Floats::type)_mm256_permute2x128_si256(low, high, 0x31);
#else
        const std::byte* p = group(c, g, true) + which * (2 * strip);
        x = Bytes::load(p);
        scale = Floats::load(p + chunk);
#endif
    }
};

template <int Bits, int Groups, int Repeat, Zeros Z, class Source>
struct Accumulator {
    const Run& run;
    const Source& x;
    Floats::type sums[Source::width] = {};

    GOSSAMER_INLINE void add(Bytes::type codes, std::int64_t at, std::int64_t g, int which, int valid) {
        const auto scale = spread<Groups>(run.scale + g);
        const auto zero = Z == Zeros::each ? spread<Groups>(run.zero + g) : Bytes::splat(*run.zero);
        for (int c = 0; c < Source::width; ++c) {
            Bytes::type values;
            Floats::type step;
            x.template load<Groups, Repeat>(c, at, g, which, valid, values, step);
            Words::type product;
            if constexpr (Z == Zeros::none)
                product = dot4<Bits>(codes, values);
            else
                product = dot4_less<Bits>(codes, zero, values);
            sums[c] += to_floats(product) * (scale * step);
        }
    }

    GOSSAMER_INLINE void finish(float* out) const {
        for (int c = 0; c < Source::width; ++c) out[c] += Floats::sum(sums[c]);
    }
};

template <class Source>
using Multiply = void (*)(const Run&, const Source&, float* out); // adds to out[0 .. Source::width)

// Codes that are bytes already, in chunks that count as groups of 16.
template <int Bits, Zeros Z, class Source>
void multiply_bytes(const Run& run, const Source& x, float* out) {
    constexpr int groups = strip / chunk;
    Accumulator<Bits, groups, 1, Z, Source> sum{run, x};
    std::int64_t g = 0, at = 0;
    for (; g + groups <= run.groups; g += groups, ++at)
        sum.add(Bytes::load(run.codes + at * strip), at, g, 0, groups);
    if (g < run.groups) sum.add(Bytes::load(run.codes + at * strip), at, g, 0, static_cast<int>(run.groups - g));
    sum.finish(out);
}

#if GOSSAMER_PACKED

template <int Bits, int Repeat, Zeros Z, class Source>
void multiply_packed(const Run& run, const Source& x, float* out) {
    using L = Layout<Bits, Repeat>;
    constexpr std::int64_t bytes = Bits * L::group / 8;
    Accumulator<Bits, L::groups, Repeat, Z, Source> sum{run, x};
    if constexpr (L::period > 1) {
        const auto strips = [&]<int... Which>(std::integer_sequence<int, Which...>) __attribute__((always_inline)) {
            for (std::int64_t g = 0; g < run.groups; ++g)
                (sum.add(L::template load<Which>(run.codes + g * bytes), g * L::period + Which, g, Which, 1), ...);
        };
        strips(std::make_integer_sequence<int, L::period>{});
    } else {
        std::int64_t g = 0, at = 0;
        for (; g + L::groups <= run.groups; g += L::groups, ++at)
            sum.add(L::template load<0>(run.codes + g * bytes), at, g, 0, L::groups);
        if (g < run.groups) {
            const auto rest = static_cast<int>(run.groups - g);
            const std::uint8_t* from = run.codes + g * bytes;
            std::uint8_t copy[strip] = {};
            if (g + L::groups > run.readable) {
                std::memcpy(copy, from, static_cast<std::size_t>(rest * bytes));
                from = copy;
            }
            sum.add(L::template load<0>(from), at, g, 0, rest);
        }
    }
    sum.finish(out);
}

// Groups whose equal parts are whole numbers of strips, of any size.
template <int Bits, Zeros Z, class Source>
void multiply_long(const Run& run, const Source& x, float* out) {
    constexpr int parts = 8 / Bits;
    const std::int64_t part = run.group / parts;
    Accumulator<Bits, 1, 0, Z, Source> sum{run, x};
    std::int64_t at = 0;
    for (std::int64_t g = 0; g < run.groups; ++g) {
        const std::uint8_t* from = run.codes + g * part;
        int which = 0;
        for (int shift = 0; shift < 8; shift += Bits)
            for (std::int64_t t = 0; t < part; t += strip, ++at, ++which)
                sum.add((Bytes::load(from + t) >> shift) & static_cast<std::uint8_t>((1 << Bits) - 1), at, g, which, 1);
    }
    sum.finish(out);
}

template <int Bits, Zeros Z, class Source>
Multiply<Source> packed_kernel(std::int64_t group) {
    switch (group) {
        case 16: return multiply_packed<Bits, 1, Z, Source>;
        case 32: return multiply_packed<Bits, 2, Z, Source>;
        case 64: return multiply_packed<Bits, 4, Z, Source>;
        case 128: return multiply_packed<Bits, 8, Z, Source>;
        default: return group % (8 / Bits * strip) ? nullptr : multiply_long<Bits, Z, Source>;
    }
}

template <Zeros Z, class Source>
Multiply<Source> packed_kernel(int bits, std::int64_t group) {
    switch (bits) {
        case 2: return packed_kernel<2, Z, Source>(group);
        case 4: return packed_kernel<4, Z, Source>(group);
        case 8: return packed_kernel<8, Z, Source>(group);
        default: return nullptr;
    }
}

#else

template <Zeros Z, class Source>
Multiply<Source> packed_kernel(int, std::int64_t) { return nullptr; }

#endif

// The kernel that reads packed groups directly, or null: unpack to bytes and use bytes_kernel.
template <class Source>
Multiply<Source> packed_kernel(const QuantisedGroups& w) {
    if (w.integer_zero) return packed_kernel<Zeros::each, Source>(w.bits, w.group);
    if (w.float_zero) return packed_kernel<Zeros::none, Source>(w.bits, w.group);
    return packed_kernel<Zeros::one, Source>(w.bits, w.group);
}

template <class Source>
Multiply<Source> bytes_kernel(const QuantisedGroups& w) {
    if (w.bits == 8) return w.float_zero ? multiply_bytes<8, Zeros::none, Source> : multiply_bytes<8, Zeros::each, Source>;
    return w.float_zero ? multiply_bytes<4, Zeros::none, Source> : multiply_bytes<4, Zeros::each, Source>;
}

} // namespace gossamer::inline GOSSAMER_ISA
