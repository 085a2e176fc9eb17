// The one template of the family; each <isa>.cpp includes it and exports its table.
#include "lanes.inl"

#include "grid.inl"

#include "aligned.inl"

namespace gossamer::gaunt {
inline namespace GOSSAMER_ISA {

template <class Real>
void bilinear(const Bilinear<Real>& all, std::int64_t rows, Real* out, int threads) {
    using V = Vector<Real>;
    const std::int64_t left = all.before_x.size, right = all.before_y.size;
    const std::int64_t size = all.after.size ? all.after.size : all.size;
    const std::int64_t terms = all.pointers[all.pairs];
    const std::int64_t vectors = all.x.width + all.y.width + left + right + all.size + all.after.size;
    over_blocks<Real>(rows, vectors, 2 * (terms + vectors), threads, [&](std::int64_t first, std::int64_t count, V* memory) {
        V *x = memory, *y = x + all.x.width, *a = y + all.y.width, *b = a + left, *t = b + right, *z = t + all.size;
        gather(all.x, first, count, x);
        gather(all.y, first, count, y);
        multiply(all.before_x, 0, left, x, a);
        multiply(all.before_y, 0, right, y, b);
        if (!left) a = x;
        if (!right) b = y;
        for (std::int64_t i = 0; i < all.size; ++i) t[i] = V{};
        for (std::int64_t p = 0; p < all.pairs; ++p) {
            const V product = a[all.left[p]] * b[all.right[p]];
            for (std::int64_t k = all.pointers[p]; k < all.pointers[p + 1]; ++k) t[all.out[k]] += all.values[k] * product;
        }
        multiply(all.after, 0, all.after.size, t, z);
        scatter(all.after.size ? z : t, size, count, out + first * size);
    });
}

inline constexpr Table kernels{{grid<float>, bilinear<float>, aligned<float>, aligned_filter<float>},
                               {grid<double>, bilinear<double>, aligned<double>, aligned_filter<double>}};

} // namespace GOSSAMER_ISA
} // namespace gossamer::gaunt
