// A product that is a program of its own, outside the token loops.
#pragma once

#include "../dispatch/pool.hpp"
#include "linear.hpp"

namespace gossamer::linear {

// One product as the token loops run it: one phase, or two with a low-rank term.
class OneProduct final : public Program {
public:
    OneProduct(const Linear& a, const Activation& x, float* y) : product_(a, x.tokens) { product_.bind(x, y, a.rows); }
    int begin(int phase) noexcept override {
        if (phase == 0) return product_.main_tasks();
        return phase == 1 && product_.finishing() ? product_.ranges() : -1;
    }
    void run(int phase, int task) noexcept override { phase == 0 ? product_.run(task) : product_.finish(task); }

private:
    Product product_;
};

} // namespace gossamer::linear
