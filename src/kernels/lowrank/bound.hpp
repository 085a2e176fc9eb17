// Factors as Python hands them over, for every family whose product takes a low-rank term.
#pragma once

#include "../dispatch/bind.hpp"
#include "lowrank.hpp"

#include <optional>

namespace gossamer::lowrank {

struct BoundFactor { // keeps the arrays that the view points to
    Factor view;
    nb::object arrays;
};

inline std::optional<Term> term(const BoundFactor* left, const BoundFactor* right) {
    if (!left || !right) return std::nullopt;
    return Term{left->view, right->view};
}

} // namespace gossamer::lowrank
