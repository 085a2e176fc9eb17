// Shared by the families' bind.cpp: array types that Python hands over without a copy.
#pragma once

#include "isa.hpp"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

namespace nb = nanobind;

namespace gossamer {

template <class Scalar, std::size_t Rank>
using Array = nb::ndarray<Scalar, nb::numpy, nb::ndim<Rank>, nb::c_contig, nb::device::cpu>;

// A family exports one table of function pointers per ISA; this picks the active one. Tables that this build
// does not have are never asked for: detected() cannot name them.
#if defined(__x86_64__)
#define GOSSAMER_SELECT(family)                                       \
    (gossamer::active() == gossamer::Isa::avx512 ? family::avx512_table \
     : gossamer::active() == gossamer::Isa::avx2 ? family::avx2_table   \
                                                 : family::portable_table)
#else
#define GOSSAMER_SELECT(family) family::portable_table
#endif

} // namespace gossamer
