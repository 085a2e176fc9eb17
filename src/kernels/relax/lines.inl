// The star on a grid in the natural order, line by line. What a line takes from its neighbours is known when it is
// reached; the rest is y_i = t_i + c y_{i-1} along it, with one c, which vectors run through in a logarithm of steps.
#include "rows.inl"

namespace gossamer::relax {
inline namespace GOSSAMER_ISA {

// Lanes moved by Step, towards the end or towards the beginning, with zeros behind them.
template <int Step, bool Backward>
GOSSAMER_INLINE simd<double>::type moved(simd<double>::type v) {
    constexpr int w = simd<double>::width;
    typedef std::int64_t Lanes __attribute__((vector_size(vector_bytes)));
    Lanes from;
    for (int k = 0; k < w; ++k) {
        const int source = Backward ? k + Step : k - Step;
        from[k] = source >= 0 && source < w ? source : w; // the first lane of the zeros
    }
    return __builtin_shuffle(v, simd<double>::type{}, from);
}

// y_i = t_i + c y_{i-1} for i = 0, 1, ..., n - 1, or y_i = t_i + c y_{i+1} for i = n - 1, ..., 0; y may be t
template <bool Backward>
GOSSAMER_INLINE void scan(const double* t, double c, std::int64_t n, double* y) {
    using V = simd<double>;
    constexpr int w = V::width;
    typename V::type powers;
    double power = c;
    for (int k = 0; k < w; ++k, power *= c) powers[Backward ? w - 1 - k : k] = power;
    const double c2 = c * c, c4 = c2 * c2;
    const std::int64_t whole = n / w * w, rest = n - whole;
    double carry = 0;
    const auto tail = [&](std::int64_t i) { y[i] = carry = t[i] + c * carry; };
    if (Backward)
        for (std::int64_t i = n - 1; i >= whole; --i) tail(i);
    auto carries = V::splat(carry);
    for (std::int64_t k = 0; k < whole; k += w) {
        const std::int64_t i = Backward ? whole - w - k : k;
        auto v = V::load(t + i);
        v += c * moved<1, Backward>(v);
        if constexpr (w > 2) v += c2 * moved<2, Backward>(v);
        if constexpr (w > 4) v += c4 * moved<4, Backward>(v);
        v += powers * carries;
        V::store(y + i, v);
        carries = V::splat(v[Backward ? 0 : w - 1]);
    }
    carry = carries[0];
    if (!Backward)
        for (std::int64_t i = whole; i < whole + rest; ++i) tail(i);
}

inline double dot(const double* x, const double* y, std::int64_t n) {
    using V = simd<double>;
    typename V::type sums[2] = {};
    std::int64_t i = 0;
    for (; i + 2 * V::width <= n; i += 2 * V::width)
        for (int k = 0; k < 2; ++k) sums[k] += V::load(x + i + k * V::width) * V::load(y + i + k * V::width);
    double tail = 0;
    for (; i < n; ++i) tail += x[i] * y[i];
    return V::sum(sums[0] + sums[1]) + tail;
}

// What stands around a line of x: pointers into it, or to zeros where the grid ends.
struct Around {
    const double *x, *below, *above, *back, *front;
};

class Lines {
public:
    explicit Lines(const Grid& a)
        : a_(a), memory_(a.nx * static_cast<std::int64_t>(sizeof(double)), 2),
          zeros_(reinterpret_cast<double*>(memory_.part(0))), work_(reinterpret_cast<double*>(memory_.part(1))) {
        for (std::int64_t i = 0; i < a.nx; ++i) zeros_[i] = 0;
    }
    std::int64_t count() const { return a_.ny * a_.nz; }
    double* work() const { return work_; } // a line of working memory
    Around around(const double* x, std::int64_t line) const {
        const std::int64_t j = line % a_.ny, k = line / a_.ny, slice = a_.nx * a_.ny;
        const double* at = x + line * a_.nx;
        return {at, j > 0 ? at - a_.nx : zeros_, j + 1 < a_.ny ? at + a_.nx : zeros_, k > 0 ? at - slice : zeros_,
                k + 1 < a_.nz ? at + slice : zeros_};
    }

private:
    const Grid& a_;
    Scratch memory_;
    double *zeros_, *work_;
};

// body(line, offset of its first point) for all lines, in their order or backwards
template <class Body>
GOSSAMER_INLINE void for_lines(const Grid& a, const Lines& lines, bool backward, const Body& body) {
    for (std::int64_t c = 0; c < lines.count(); ++c) {
        const std::int64_t line = backward ? lines.count() - 1 - c : c;
        body(line, line * a.nx);
    }
}

// out = base + factor (neighbours of x in other lines that are lower, or upper, or both); base may be out
enum class Side { lower, upper, both };
template <Side side, class Base>
GOSSAMER_INLINE void add_lines(const Grid& a, const Around& at, double factor, const Base& base, double* out) {
    const double cy = factor * a.coupling[1], cz = factor * a.coupling[2];
    for (std::int64_t i = 0; i < a.nx; ++i) {
        double value = base(i);
        if constexpr (side != Side::upper) value += cy * at.below[i] + cz * at.back[i];
        if constexpr (side != Side::lower) value += cy * at.above[i] + cz * at.front[i];
        out[i] = value;
    }
}

// out += c (left neighbours), out += c (right neighbours) within the line
GOSSAMER_INLINE void add_left(const double* x, double c, std::int64_t n, double* out) {
    for (std::int64_t i = 1; i < n; ++i) out[i] += c * x[i - 1];
}
GOSSAMER_INLINE void add_right(const double* x, double c, std::int64_t n, double* out) {
    for (std::int64_t i = 0; i + 1 < n; ++i) out[i] += c * x[i + 1];
}

// out = sign (A x), plus b if there is one; the sum of out other, or of its squares
inline double line_product(const Grid& a, double sign, const double* b, const double* x, const double* other,
                           double* out) {
    const Lines lines(a);
    double sum = 0;
    for_lines(a, lines, false, [&](std::int64_t line, std::int64_t at) {
        const Around x_at = lines.around(x, line);
        double* to = out + at;
        const double d = sign * a.diagonal, c = -sign * a.coupling[0];
        const auto base = [=](std::int64_t i) { return (b ? b[at + i] : 0) + d * x_at.x[i]; };
        add_lines<Side::both>(a, x_at, -sign, base, to);
        add_left(x_at.x, c, a.nx, to);
        add_right(x_at.x, c, a.nx, to);
        sum += dot(to, other ? other + at : to, a.nx);
    });
    return sum;
}

inline void line_sweep(const Grid& a, const double* b, double omega, bool backward, double* x, double* change) {
    const Lines lines(a);
    const double keep = 1 - omega, share = omega / a.diagonal, c = share * a.coupling[0];
    for_lines(a, lines, backward, [&](std::int64_t line, std::int64_t at) {
        const Around x_at = lines.around(x, line);
        double *t = lines.work(), *to = x + at;
        add_lines<Side::both>(a, x_at, share, [=](std::int64_t i) { return keep * to[i] + share * b[at + i]; }, t);
        if (backward) {
            add_left(to, c, a.nx, t);
            scan<true>(t, c, a.nx, to);
        } else {
            add_right(to, c, a.nx, t);
            if (change)
                for (std::int64_t i = 0; i < a.nx; ++i) change[at + i] = -to[i];
            scan<false>(t, c, a.nx, to);
            if (change)
                for (std::int64_t i = 0; i < a.nx; ++i) change[at + i] += to[i];
        }
    });
}

// the squared norm of scale v + U v with U what couples to upper neighbours
inline double line_recurrence(const Grid& a, double scale, const double* v) {
    const Lines lines(a);
    double sum = 0;
    for_lines(a, lines, false, [&](std::int64_t line, std::int64_t) {
        const Around at = lines.around(v, line);
        double* t = lines.work();
        add_lines<Side::upper>(a, at, 1, [=](std::int64_t i) { return scale * at.x[i]; }, t);
        add_right(at.x, a.coupling[0], a.nx, t);
        sum += dot(t, t, a.nx);
    });
    return sum;
}

// z = (D/w + L)^-1 r; the squared norm of z
inline double line_forward(const Grid& a, double omega, const double* r, double* z) {
    const Lines lines(a);
    const double share = omega / a.diagonal;
    double sum = 0;
    for_lines(a, lines, false, [&](std::int64_t line, std::int64_t at) {
        double* to = z + at;
        add_lines<Side::lower>(a, lines.around(z, line), share, [=](std::int64_t i) { return share * r[at + i]; }, to);
        scan<false>(to, share * a.coupling[0], a.nx, to);
        sum += dot(to, to, a.nx);
    });
    return sum;
}

// q = scaled z + beta q, p = (D/w + L)^-T q; p.q and p.p. Also the second half of SSOR, with p = z and beta = 0.
inline Sums line_backward(const Grid& a, double omega, double scaled, double beta, const double* z, double* q,
                          double* p) {
    const Lines lines(a);
    const double share = omega / a.diagonal;
    Sums sums;
    for_lines(a, lines, true, [&](std::int64_t line, std::int64_t at) {
        double *right = q ? q + at : lines.work(), *to = p + at;
        for (std::int64_t i = 0; i < a.nx; ++i) right[i] = scaled * z[at + i] + (q ? beta * right[i] : 0);
        add_lines<Side::upper>(a, lines.around(p, line), share, [=](std::int64_t i) { return share * right[i]; }, to);
        scan<true>(to, share * a.coupling[0], a.nx, to);
        sums.first += dot(to, right, a.nx);
        sums.second += dot(to, to, a.nx);
    });
    return sums;
}

// r -= length A p by A p = q + own p + L p, x += length p, z = (D/w + L)^-1 r; r.r and z.z
inline Sums line_step(const Grid& a, double omega, double own, double length, const double* p, const double* q,
                      double* x, double* r, double* z) {
    const Lines lines(a);
    const double share = omega / a.diagonal;
    Sums sums;
    for_lines(a, lines, false, [&](std::int64_t line, std::int64_t at) {
        const Around p_at = lines.around(p, line);
        double *rest = r + at, *iterate = x + at, *to = z + at;
        const auto less = [=](std::int64_t i) { return rest[i] - length * (q[at + i] + own * p_at.x[i]); };
        add_lines<Side::lower>(a, p_at, length, less, rest);
        add_left(p_at.x, length * a.coupling[0], a.nx, rest);
        for (std::int64_t i = 0; i < a.nx; ++i) iterate[i] += length * p_at.x[i];
        add_lines<Side::lower>(a, lines.around(z, line), share, [=](std::int64_t i) { return share * rest[i]; }, to);
        scan<false>(to, share * a.coupling[0], a.nx, to);
        sums.first += dot(rest, rest, a.nx);
        sums.second += dot(to, to, a.nx);
    });
    return sums;
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::relax
