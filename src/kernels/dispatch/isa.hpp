// Which instruction set runs. Detected once by CPUID and XGETBV, forced by GOSSAMER_ISA or force().
#pragma once

#include <string_view>

namespace gossamer {

enum class Isa { portable = 0, avx2 = 1, avx512 = 2 };

Isa detected();                    // the best that this CPU and operating system run
Isa active();                      // what select() returns now
void force(std::string_view name); // "portable", "avx2", "avx512", "avx512-base", "auto"; throws std::invalid_argument
std::string_view name(Isa isa);
bool has_bfloat16(); // avx512 is active, not forced to its base, and the CPU also has VBMI2 and BF16

} // namespace gossamer
