// Shared by the families' bind.cpp: array types that Python hands over without a copy.
#pragma once

#include "isa.hpp"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

namespace nb = nanobind;

namespace gossamer {

template <class Scalar, std::size_t Rank>
using Array = nb::ndarray<Scalar, nb::numpy, nb::ndim<Rank>, nb::c_contig, nb::device::cpu>;

} // namespace gossamer
