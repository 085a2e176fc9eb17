// Which instruction set runs. Detected once (CPUID and XGETBV, or what the system of an ARM machine says), forced by
// GOSSAMER_ISA or force().
#pragma once

#include <string_view>

namespace gossamer {

enum class Isa { portable, avx2, avx512, neon, neon_dot };

Isa detected(); // the best that this CPU and operating system run
Isa active();   // what select() returns now
// A name(), "avx512-base" or "auto"; throws std::invalid_argument.
void force(std::string_view name);
std::string_view name(Isa isa);
bool has_bfloat16(); // avx512 is active, not forced to its base, and the CPU also has VBMI2 and BF16

} // namespace gossamer

// A family exports one table of function pointers per ISA; this picks the active one. Tables that this build does not
// have are never asked for: detected() cannot name them. Only families that multiply bytes have one for NEON's integer
// dot product.
#if defined(__x86_64__)
#define GOSSAMER_SELECT(family)                                       \
    (gossamer::active() == gossamer::Isa::avx512 ? family::avx512_table \
     : gossamer::active() == gossamer::Isa::avx2 ? family::avx2_table   \
                                                 : family::portable_table)
#define GOSSAMER_SELECT_DOT(family) GOSSAMER_SELECT(family)
#elif defined(__aarch64__)
#define GOSSAMER_SELECT(family) \
    (gossamer::active() == gossamer::Isa::portable ? family::portable_table : family::neon_table)
#define GOSSAMER_SELECT_DOT(family) \
    (gossamer::active() == gossamer::Isa::neon_dot ? family::neon_dot_table : GOSSAMER_SELECT(family))
#else
#define GOSSAMER_SELECT(family) family::portable_table
#define GOSSAMER_SELECT_DOT(family) GOSSAMER_SELECT(family)
#endif
