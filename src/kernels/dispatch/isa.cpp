#include "isa.hpp"

#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <string>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace gossamer {
namespace {

#if defined(__x86_64__)
constexpr Isa ladder[] = {Isa::portable, Isa::avx2, Isa::avx512}; // what this architecture may have, in order

unsigned long long xgetbv0() {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (static_cast<unsigned long long>(high) << 32) | low;
}

Isa probe() {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return Isa::portable;
    const bool osxsave = c & (1u << 27), fma = c & (1u << 12), f16c = c & (1u << 29);
    if (!osxsave || !fma || !f16c) return Isa::portable;
    const auto state = xgetbv0();
    if ((state & 0x6) != 0x6) return Isa::portable; // the system does not save ymm
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return Isa::portable;
    const bool avx2 = b & (1u << 5), bmi2 = b & (1u << 8);
    if (!avx2 || !bmi2) return Isa::portable;
    const unsigned foundation = (1u << 16) | (1u << 17) | (1u << 30) | (1u << 31); // F DQ BW VL
    const bool vnni = c & (1u << 11);
    if ((b & foundation) == foundation && vnni && (state & 0xe6) == 0xe6) return Isa::avx512;
    return Isa::avx2;
}
#elif defined(__aarch64__)
constexpr Isa ladder[] = {Isa::portable, Isa::neon, Isa::neon_dot};

Isa probe() { // NEON is part of the architecture, the integer dot product came with ARMv8.2
#if defined(__linux__)
    return getauxval(AT_HWCAP) & HWCAP_ASIMDDP ? Isa::neon_dot : Isa::neon;
#elif defined(__APPLE__)
    int present = 0;
    std::size_t size = sizeof present;
    const bool known = sysctlbyname("hw.optional.arm.FEAT_DotProd", &present, &size, nullptr, 0) == 0;
    return known && present ? Isa::neon_dot : Isa::neon;
#else
    return Isa::neon;
#endif
}
#else
constexpr Isa ladder[] = {Isa::portable};

Isa probe() { return Isa::portable; }
#endif

constexpr int base_only = 16; // added to an ISA: without what the CPU has beyond it

int parse(std::string_view text) {
    if (text.empty() || text == "auto") return static_cast<int>(detected());
    const bool base = text == "avx512-base";
    std::string runs;
    for (Isa isa : ladder) {
        if (text == name(isa) || (base && isa == Isa::avx512)) return static_cast<int>(isa) + (base ? base_only : 0);
        runs += (runs.empty() ? "" : ", ") + std::string(name(isa));
        if (isa == detected()) break;
    }
    for (Isa isa : {Isa::avx2, Isa::avx512, Isa::neon, Isa::neon_dot})
        if (base || text == name(isa))
            throw std::invalid_argument("GOSSAMER_ISA=" + std::string(text) + ": this machine runs " + runs);
    throw std::invalid_argument("GOSSAMER_ISA=" + std::string(text) +
                                ": expected one of auto, portable, avx2, avx512, avx512-base, neon, neon-dot");
}

std::atomic<int>& chosen() {
    static std::atomic<int> value{-1};
    return value;
}

} // namespace

Isa detected() {
    static const Isa best = probe();
    return best;
}

Isa active() {
    int value = chosen().load(std::memory_order_relaxed);
    if (value < 0) {
        const char* forced = std::getenv("GOSSAMER_ISA");
        value = parse(forced ? forced : "");
        chosen().store(value, std::memory_order_relaxed);
    }
    return static_cast<Isa>(value % base_only);
}

void force(std::string_view text) { chosen().store(parse(text), std::memory_order_relaxed); }

bool has_bfloat16() {
    static const bool present = [] {
#if defined(__x86_64__)
        unsigned a, b, c, d;
        if (detected() != Isa::avx512 || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
        const bool vbmi2 = c & (1u << 6);
        return a >= 1 && vbmi2 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & (1u << 5));
#else
        return false;
#endif
    }();
    return present && active() == Isa::avx512 && chosen().load(std::memory_order_relaxed) < base_only;
}

std::string_view name(Isa isa) {
    switch (isa) {
        case Isa::avx512: return "avx512";
        case Isa::avx2: return "avx2";
        case Isa::neon: return "neon";
        case Isa::neon_dot: return "neon-dot";
        default: return "portable";
    }
}

} // namespace gossamer
