// The NEON kernels of one path against the portable ones. Arguments: the instruction set that must be detected, and the
// path to check where that is another one.
#include "check.hpp"
#include "dispatch/isa.hpp"
#include "gqs/gqs.hpp"
#include "lscd/lscd.hpp"

#include <stdexcept>

using namespace gossamer;

namespace {

bool refused(const char* isa, const std::string& why) {
    try {
        force(isa);
    } catch (const std::invalid_argument& error) {
        return std::string(error.what()).find(why) != std::string::npos;
    }
    return false;
}

void dispatch(const std::string& expected) {
    using check::fail;
    if (name(detected()) != expected) fail("dispatch", "detected " + std::string(name(detected())) + ", expected " + expected);
    const bool dot = detected() == Isa::neon_dot;
    for (const Isa isa : {Isa::portable, Isa::neon, Isa::neon_dot}) {
        if (isa == Isa::neon_dot && !dot) continue;
        force(name(isa));
        if (active() != isa) fail("dispatch", std::string(name(isa)) + " was forced and is not active");
        const auto* sparse = isa == Isa::portable ? &gqs::portable_table : isa == Isa::neon ? &gqs::neon_table : &gqs::neon_dot_table;
        if (&GOSSAMER_SELECT_DOT(gqs) != sparse) fail("dispatch", "the tables of gqs do not follow " + std::string(name(isa)));
        if (&GOSSAMER_SELECT(lscd) != (isa == Isa::portable ? &lscd::portable_table : &lscd::neon_table))
            fail("dispatch", "the tables of lscd do not follow " + std::string(name(isa)));
    }
    if (!refused("avx2", dot ? "this machine runs portable, neon, neon-dot" : "this machine runs portable, neon")) fail("dispatch", "avx2 is not refused");
    if (!dot && !refused("neon-dot", "this machine runs portable, neon")) fail("dispatch", "neon-dot is not refused");
    if (!refused("sve", "expected one of auto, portable")) fail("dispatch", "an unknown name is not refused");
    force("auto");
    if (active() != detected()) fail("dispatch", "auto is not the best");
}

void report(const char* what) {
    std::printf("%-26s %8lld numbers, largest difference %.2g of the bound\n", what, static_cast<long long>(check::compared), check::worst);
    std::fflush(stdout);
    check::compared = 0, check::worst = 0;
}

} // namespace

int main(int count, char** arguments) {
    if (count < 2 || count > 3) return std::printf("usage: %s neon|neon-dot [neon|neon-dot]\n", arguments[0]), 2;
    const std::string path = arguments[count - 1];
    dispatch(arguments[1]);
    if (check::failures == 0) {
        force(path);
        const bool dot = path == "neon-dot";
        check::products(dot), report(("products, " + path).c_str());
        check::prepared(dot), report(("prepared, " + path).c_str());
        if (!dot) check::layers(), report(("decoder and encoder, " + path).c_str());
        if (!dot) check::sequences(), report(("sequences, " + path).c_str());
        if (!dot) check::relaxation(), report(("relaxation, " + path).c_str());
        if (!dot) check::spheres(), report(("functions on spheres, " + path).c_str());
    }
    std::printf(check::failures ? "%d failures\n" : "all equal\n", check::failures);
    return check::failures != 0;
}
