// The compiled module: one submodule a family.
#include "dispatch/bind.hpp"
#include "dispatch/isa.hpp"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#define GOSSAMER_FAMILIES(X) X(csr) X(quant) X(gqs) X(nm) X(block) X(lowrank) X(decoder) X(encoder) X(linear) \
    X(fisher) X(spgemm) X(lscd) X(monarch) X(monomial) X(ssm) X(tensor_attention) X(walsh) X(gaunt) X(fftconv) X(depthwise) \
    X(descent) X(relax) X(transport) X(completion) X(elliptic) X(topk) X(multiview) X(coding) X(evolve) X(propagate) X(multigrid) \
    X(inverted) X(maxsim) X(unmix) X(contrast)

#define GOSSAMER_DECLARE(family) namespace gossamer::family { void bind(nb::module_&); }
GOSSAMER_FAMILIES(GOSSAMER_DECLARE)

NB_MODULE(_native, m) {
    nb::set_leak_warnings(false);
    m.def("active_isa", [] { return std::string(gossamer::name(gossamer::active())); });
    m.def("detected_isa", [] { return std::string(gossamer::name(gossamer::detected())); });
    m.def("force_isa", [](const std::string& name) { gossamer::force(name); });
    std::vector<std::string> families;
#define GOSSAMER_BIND(family)                      \
    {                                              \
        auto sub = m.def_submodule(#family);       \
        gossamer::family::bind(sub);               \
        families.emplace_back(#family);            \
    }
    GOSSAMER_FAMILIES(GOSSAMER_BIND)
    m.def("families", [families] { return families; });
}
