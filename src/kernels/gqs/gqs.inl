// The one template of the family; each <isa>.cpp includes it and exports its table.
#include "../dispatch/dense.hpp"
#include "../dispatch/sparse_row.hpp"
#include "../quant/dequantise.hpp"
#include "../quant/multiply.hpp"
#include "gqs.hpp"
#include "tasks.hpp"

namespace gossamer::gqs {
inline namespace GOSSAMER_ISA {

template <class Real, class Body>
void by_schedule(const Matrix& a, std::int64_t n, Real* y, const lowrank::Added<Real>& added, bool by_task, int threads,
                 const Body& body) {
    if (by_task)
        by_tasks(a, n, y, added, threads, body);
    else
        by_rows(a, n, y, added, threads, body);
}

// Groups unpacked at a time: their codes and weights stay in the first-level cache.
inline std::int64_t piece(const Matrix& a) {
    return most<std::int64_t>(1, least<std::int64_t>(128, 2048 / most<std::int64_t>(a.groups.group, 1)));
}

// -- floating-point activations: unpack kept groups, multiply them as a sparse row ---------------------------------

template <class Real>
void matmat_float(const Matrix& a, const Real* x, std::int64_t n, Real* y, const lowrank::Term* term, bool by_task,
                  int threads) {
    const QuantisedGroups& w = a.groups;
    const std::int64_t groups = piece(a), real = static_cast<std::int64_t>(sizeof(Real));
    threads = worthwhile_threads(2 * w.count * w.group * n, threads);
    const std::int64_t weight_bytes = round_up(groups * w.group * real, 64);
    const Scratch memory(weight_bytes + batch_bytes(w), threads);
    const lowrank::Added<Real> added(term, x, n, threads);
    by_schedule(a, n, y, added, by_task, threads, [&](std::int64_t first, std::int64_t last, Real* to, int thread) {
        auto* weights = reinterpret_cast<Real*>(memory.part(thread));
        auto* codes = reinterpret_cast<std::uint8_t*>(memory.part(thread) + weight_bytes);
        Real sum = 0;
        for (std::int64_t g = first; g < last; g += groups) {
            const std::int64_t count = least(groups, last - g);
            dequantise(w, g, count, codes, weights);
            for (std::int64_t j = 0; j < count; ++j) {
                const std::int64_t k = a.column[g + j] * w.group, width = least(w.group, a.cols - k);
                if (n == 1)
                    sum += dot(weights + j * w.group, x + k, width);
                else
                    panel_times_matrix(weights + j * w.group, w.group, 1, width, x + k * n, n, to, true);
            }
        }
        if (n == 1) *to += sum;
    });
}

// -- int8 activations ---------------------------------------------------------------------------------------------

class Int8 {
public:
    Int8(const Matrix& a, const float* x, std::int64_t n, int threads)
        : a_(a), w_(a.groups), n_(n), count_(ceil_div(a.cols, most<std::int64_t>(w_.group, 1))),
          repeat_(w_.group % chunk ? 1 : w_.group / chunk), piece_(piece(a)),
          column_bytes_(record_bytes(round_up((count_ + 1) * w_.group, 2 * block) + 2 * strip)),
          rounded_(n * (column_bytes_ + (w_.float_zero ? 4 * count_ : 0)), 1), work_(work_bytes(), threads),
          one_(packed_kernel<Gathered<1, std::uint16_t>>(w_)), four_(packed_kernel<Gathered<4, std::uint16_t>>(w_)) {
        round(x, worthwhile_threads(8 * a.cols * n, threads));
        for (int thread = 0; thread < threads; ++thread)
            std::memset(work_.part(thread), 0, static_cast<std::size_t>(work_bytes()));
    }

    // Adds kept groups [first, last) of one row to y[0 .. n).
    void multiply(std::int64_t first, std::int64_t last, float* y, int thread) const {
        for (std::int64_t g = first; g < last; g += piece_) {
            const std::int64_t count = least(piece_, last - g);
            if (w_.group % chunk)
                unaligned(g, count, y, thread);
            else if (one_)
                packed(g, count, y, thread);
            else
                unpacked(g, count, y, thread);
            if (w_.float_zero) correct(g, count, y);
        }
    }

private:
    struct Work {
        float* scale;
        std::uint32_t* column;
        std::uint8_t *zero, *codes;
    };
    std::int64_t slots() const { return piece_ * repeat_ + strip; }
    std::int64_t work_bytes() const { return 9 * slots() + piece_ * padded(w_) + 4 * strip; }
    Work work(int thread) const {
        Work to;
        to.scale = reinterpret_cast<float*>(work_.part(thread));
        to.column = reinterpret_cast<std::uint32_t*>(to.scale + slots());
        to.zero = reinterpret_cast<std::uint8_t*>(to.column + slots());
        to.codes = to.zero + slots();
        return to;
    }

    void round(const float* x, int threads) {
        const std::int64_t blocks = column_bytes_ / record_bytes(block);
        parallel_chunks(ceil_div(blocks, 32), threads, [&](std::int64_t part) {
            for (std::int64_t b = part * 32; b < least(blocks, part * 32 + 32); ++b)
                for (std::int64_t c = 0; c < n_; ++c)
                    round_block<chunk>(x + c, n_, b * block, a_.cols, rounded_.part(0) + c * column_bytes_);
        });
        if (!w_.float_zero) return;
        parallel_chunks(n_, threads, [&](std::int64_t c) {
            for (std::int64_t g = 0; g < count_; ++g)
                group_sums()[c * count_ + g] = group_sum<chunk>(column(c), g * w_.group, (g + 1) * w_.group);
        });
    }
    float* group_sums() const { return reinterpret_cast<float*>(rounded_.part(0) + n_ * column_bytes_); }
    const std::byte* column(std::int64_t c) const { return rounded_.part(0) + c * column_bytes_; }

    template <class Index>
    void columns(const Run& run, const Index* index, std::int64_t beyond, std::int64_t repeat,
                 Multiply<Gathered<1, Index>> one, Multiply<Gathered<4, Index>> four, float* y) const {
        std::int64_t c = 0;
        for (; c + 4 <= n_; c += 4)
            four(run, {{column(c), column(c + 1), column(c + 2), column(c + 3)}, index, beyond, repeat}, y + c);
        for (; c < n_; ++c) one(run, {{column(c)}, index, beyond, repeat}, y + c);
    }

    void packed(std::int64_t g, std::int64_t count, float* y, int thread) const {
        const Work to = work(thread);
        to_floats(w_.scale + g, count, to.scale);
        expand_zeros(w_, g, count, to.zero);
        const Run run{w_.codes + g * group_bytes(w_), count, w_.count - g, w_.group, to.scale, to.zero};
        columns(run, a_.column + g, count_, repeat_, one_, four_, y);
    }

    void unpacked(std::int64_t g, std::int64_t count, float* y, int thread) const { // chunks become groups of 16
        const Work to = work(thread);
        std::uint8_t zero = 0;
        for (std::int64_t j = 0; j < count; ++j) {
            unpack_group(w_, g + j, to.codes + j * w_.group);
            expand_zeros(w_, g + j, 1, &zero);
            for (std::int64_t k = j * repeat_; k < (j + 1) * repeat_; ++k) {
                to.scale[k] = to_float(w_.scale[g + j]);
                to.zero[k] = zero;
                to.column[k] = static_cast<std::uint32_t>(a_.column[g + j] * repeat_ + k - j * repeat_);
            }
        }
        const Run run{to.codes, count * repeat_, count * repeat_, chunk, to.scale, to.zero};
        columns(run, to.column, count_ * repeat_, 1, bytes_kernel<Gathered<1, std::uint32_t>>(w_),
                bytes_kernel<Gathered<4, std::uint32_t>>(w_), y);
    }

    void unaligned(std::int64_t g, std::int64_t count, float* y, int thread) const { // groups cross activation blocks
        const Work to = work(thread);
        std::uint8_t zero = 0;
        for (std::int64_t j = 0; j < count; ++j) {
            unpack_group(w_, g + j, to.codes);
            expand_zeros(w_, g + j, 1, &zero);
            const float scale = to_float(w_.scale[g + j]);
            const std::int64_t first = a_.column[g + j] * w_.group;
            for (std::int64_t c = 0; c < n_; ++c) {
                auto* records = const_cast<std::byte*>(column(c));
                for (std::int64_t k = first; k < first + w_.group;) {
                    const std::int64_t end = least(first + w_.group, round_up(k + 1, chunk));
                    const auto* x = reinterpret_cast<const std::int8_t*>(code_at<chunk>(records, k / chunk * chunk));
                    float step;
                    std::memcpy(&step, scale_at<chunk>(records, k / chunk * chunk), 4);
                    std::int32_t sum = 0;
                    for (; k < end; ++k) sum += (to.codes[k - first] - zero) * x[k % chunk];
                    y[c] += scale * step * static_cast<float>(sum);
                }
            }
        }
    }

    void correct(std::int64_t g, std::int64_t count, float* y) const {
        for (std::int64_t c = 0; c < n_; ++c) {
            const float* sums = group_sums() + c * count_;
            float total = 0;
            for (std::int64_t j = g; j < g + count; ++j) total += to_float(w_.float_zero[j]) * sums[a_.column[j]];
            y[c] -= total;
        }
    }

    const Matrix& a_;
    const QuantisedGroups& w_;
    std::int64_t n_, count_, repeat_, piece_, column_bytes_; // count_: groups in a row of W
    Scratch rounded_, work_;
    Multiply<Gathered<1, std::uint16_t>> one_;
    Multiply<Gathered<4, std::uint16_t>> four_;
};

inline void matmat_int8(const Matrix& a, const float* x, std::int64_t n, float* y, const lowrank::Term* term,
                        bool by_task, int threads) {
    threads = worthwhile_threads(a.groups.count * a.groups.group * n, threads);
    const Int8 product(a, x, n, threads);
    const lowrank::Added<float> added(term, x, n, threads);
    by_schedule(a, n, y, added, by_task, threads, [&](std::int64_t first, std::int64_t last, float* to, int thread) {
        product.multiply(first, last, to, thread);
    });
}

inline constexpr Table kernels{matmat_float<float>, matmat_int8, matmat_float<double>};

} // namespace GOSSAMER_ISA
} // namespace gossamer::gqs
