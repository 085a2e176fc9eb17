// A prepared matrix as Python holds it: shared, immutable, with what it is made of.
#pragma once

#include "linear.hpp"

#include <memory>
#include <vector>

namespace gossamer::linear {

struct Handle {
    std::shared_ptr<const Linear> linear;
    std::vector<std::shared_ptr<const Handle>> parts; // of a low-rank sum
};

} // namespace gossamer::linear
