// The one template of the family; each <isa>.cpp includes it and exports its table.
#include "../dispatch/dense.hpp"
#include "../dispatch/parallel.hpp"
#include "../dispatch/scratch.hpp"
#include "../lowrank/term.inl"
#include "dequantise.hpp"
#include "multiply.hpp"
#include "quant.hpp"

namespace gossamer::quant {
inline namespace GOSSAMER_ISA {

// -- floating-point activations: unpack a panel of rows, then multiply as if it were dense -----------------------

template <class Real>
void matmat_float(const Matrix& a, const Real* x, std::int64_t n, Real* y, const lowrank::Term* term, int threads) {
    const QuantisedGroups& w = a.groups;
    const std::int64_t width = a.groups_per_row * w.group;
    const std::int64_t cached = 256 * 1024 / static_cast<std::int64_t>(sizeof(Real)); // of the second-level cache
    const std::int64_t panel = most<std::int64_t>(1, least<std::int64_t>(n == 1 ? 16 : 48, cached / most<std::int64_t>(width, 1)));
    threads = worthwhile_threads(2 * a.rows * a.cols * n, threads);
    const std::int64_t panel_bytes = round_up(panel * width * static_cast<std::int64_t>(sizeof(Real)), 64);
    const Scratch scratch(panel_bytes + batch_bytes(w), threads);
    const lowrank::Added<Real> added(term, x, n, threads);
    parallel_chunks_by_thread(ceil_div(a.rows, panel), threads, [&](std::int64_t at, int thread) {
        auto* weights = reinterpret_cast<Real*>(scratch.part(thread));
        auto* codes = reinterpret_cast<std::uint8_t*>(scratch.part(thread) + panel_bytes);
        const std::int64_t row = at * panel, rows = least(panel, a.rows - row);
        dequantise(w, row * a.groups_per_row, rows * a.groups_per_row, codes, weights);
        panel_times_matrix(weights, width, rows, a.cols, x, n, y + row * n, false);
        added.rows(row, row + rows, y + row * n, thread);
    });
}

// -- int8 activations -------------------------------------------------------------------------------------------

struct Rounded { // every column as records of a strip, and what float zero points need
    std::int64_t column_bytes;
    std::byte* records;
    float* group_sums; // [column][group]
};

inline void round_columns(const Matrix& a, const float* x, std::int64_t n, const Rounded& to, int threads) {
    const std::int64_t blocks = to.column_bytes / record_bytes(block);
    parallel_chunks(ceil_div(blocks, 32), threads, [&](std::int64_t part) {
        for (std::int64_t b = part * 32; b < least(blocks, part * 32 + 32); ++b)
            for (std::int64_t c = 0; c < n; ++c)
                round_block<strip>(x + c, n, b * block, a.cols, to.records + c * to.column_bytes);
    });
    if (!a.groups.float_zero) return;
    parallel_chunks(n, threads, [&](std::int64_t c) {
        for (std::int64_t g = 0; g < a.groups_per_row; ++g)
            to.group_sums[c * a.groups_per_row + g] = group_sum<strip>(
                to.records + c * to.column_bytes, g * a.groups.group, (g + 1) * a.groups.group);
    });
}

// A row whose groups share no border with the blocks of activations.
inline float multiply_unaligned(const Matrix& a, const std::uint8_t* codes, const float* scale, const std::uint8_t* zero,
                                const std::byte* records) {
    auto* bytes = const_cast<std::byte*>(records);
    float total = 0;
    const std::int64_t width = a.groups_per_row * a.groups.group, stride = padded(a.groups);
    for (std::int64_t k = 0; k < width;) {
        const std::int64_t g = k / a.groups.group, first = g * a.groups.group;
        const std::int64_t end = least(first + a.groups.group, round_up(k + 1, block));
        const auto* x = reinterpret_cast<const std::int8_t*>(code_at<strip>(bytes, k / block * block));
        float step;
        std::memcpy(&step, scale_at<strip>(bytes, k / block * block), 4);
        std::int32_t sum = 0;
        if constexpr (strip >= block) {
            for (; k < end; ++k) sum += (codes[g * stride + k - first] - zero[g]) * x[k % block];
        } else {
            for (; k < end; ++k)
                sum += (codes[g * stride + k - first] - zero[g]) * static_cast<std::int8_t>(*code_at<strip>(bytes, k));
        }
        total += scale[g] * step * static_cast<float>(sum);
    }
    return total;
}

struct Workspace { // of one thread and one row
    float* scale;
    std::uint8_t *zero, *codes;
    float* correction;
};

class Rows {
public:
    Rows(const Matrix& a, const Rounded& x, std::int64_t n)
        : a_(a), x_(x), n_(n), w_(a.groups), repeat_(w_.group % chunk ? 1 : w_.group / chunk),
          one_(packed_kernel<InOrder<1>>(w_)), four_(packed_kernel<InOrder<4>>(w_)), direct_(one_ != nullptr) {
        if (direct_) return;
        one_ = bytes_kernel<InOrder<1>>(w_);
        four_ = bytes_kernel<InOrder<4>>(w_);
    }

    static std::int64_t slots(const Matrix& a) { // scales or zeros a row may need, with a strip to spare
        return a.groups_per_row * most<std::int64_t>(1, a.groups.group / chunk) + strip;
    }
    static std::int64_t bytes(const Matrix& a) {
        return slots(a) * 5 + a.groups_per_row * (4 + padded(a.groups)) + 4 * strip;
    }
    Workspace workspace(std::byte* memory) const {
        Workspace to;
        to.scale = reinterpret_cast<float*>(memory);
        to.correction = to.scale + slots(a_);
        to.zero = reinterpret_cast<std::uint8_t*>(to.correction + a_.groups_per_row);
        to.codes = to.zero + slots(a_);
        std::memset(memory, 0, static_cast<std::size_t>(bytes(a_)));
        return to;
    }

    void multiply(std::int64_t row, std::int64_t column, std::int64_t columns, const Workspace& work, float* y) const {
        const std::int64_t count = a_.groups_per_row, first = row * count;
        to_floats(w_.scale + first, count, work.scale);
        expand_zeros(w_, first, count, work.zero);
        if (w_.float_zero) to_floats(w_.float_zero + first, count, work.correction);
        Run run{w_.codes + first * group_bytes(w_), count, w_.count - first, w_.group, work.scale, work.zero};
        if (!direct_) {
            for (std::int64_t g = 0; g < count; ++g) unpack_group(w_, first + g, work.codes + g * padded(w_));
            run.codes = work.codes;
            if (repeat_ > 1) repeat_per_chunk(work);
            run.groups = run.readable = count * repeat_;
        }
        for (std::int64_t c = column; c < column + columns;) {
            const std::byte* records = x_.records + c * x_.column_bytes;
            float sums[4] = {};
            int done = 1;
            if (w_.group % chunk) {
                sums[0] = multiply_unaligned(a_, work.codes, work.scale, work.zero, records);
            } else if (c + 4 <= column + columns) {
                InOrder<4> source;
                for (int j = 0; j < 4; ++j) source.records[j] = records + j * x_.column_bytes;
                four_(run, source, sums);
                done = 4;
            } else {
                one_(run, InOrder<1>{{records}}, sums);
            }
            for (int j = 0; j < done; ++j, ++c) {
                if (w_.float_zero) sums[j] -= dot(work.correction, x_.group_sums + c * count, count);
                y[row * n_ + c] = sums[j];
            }
        }
    }

private:
    void repeat_per_chunk(const Workspace& work) const { // backwards, in place
        for (std::int64_t g = a_.groups_per_row - 1; g >= 0; --g)
            for (std::int64_t j = repeat_ - 1; j >= 0; --j) {
                work.scale[g * repeat_ + j] = work.scale[g];
                work.zero[g * repeat_ + j] = work.zero[g];
            }
    }

    const Matrix& a_;
    const Rounded& x_;
    std::int64_t n_;
    const QuantisedGroups& w_;
    std::int64_t repeat_;
    Multiply<InOrder<1>> one_;
    Multiply<InOrder<4>> four_;
    bool direct_;
};

inline void matmat_int8(const Matrix& a, const float* x, std::int64_t n, float* y, const lowrank::Term* term, int threads) {
    const std::int64_t width = round_up(a.groups_per_row * a.groups.group, most(strip, block)) + strip;
    threads = worthwhile_threads(a.rows * a.cols * n, threads);
    const std::int64_t column_bytes = record_bytes(round_up(width, most(strip, block)));
    const Scratch rounded_memory(n * (column_bytes + (a.groups.float_zero ? 4 * a.groups_per_row : 0)), 1);
    const Rounded rounded{column_bytes, rounded_memory.part(0),
                          reinterpret_cast<float*>(rounded_memory.part(0) + n * column_bytes)};
    round_columns(a, x, n, rounded, worthwhile_threads(8 * a.cols * n, threads));
    const Rows rows(a, rounded, n);
    const Scratch memory(Rows::bytes(a), threads);
    const lowrank::Added<float> added(term, x, n, threads);
    constexpr std::int64_t rows_per_chunk = 32;
    parallel_chunks_by_thread(ceil_div(a.rows, rows_per_chunk), threads, [&](std::int64_t part, int thread) {
        const Workspace work = rows.workspace(memory.part(thread));
        const std::int64_t first = part * rows_per_chunk, last = least(a.rows, first + rows_per_chunk);
        constexpr std::int64_t columns = 8; // records of 8 columns stay in the cache over the rows of a chunk
        for (std::int64_t c = 0; c < n; c += columns)
            for (std::int64_t row = first; row < last; ++row) rows.multiply(row, c, least(columns, n - c), work, y);
        added.rows(first, last, y + first * n, thread);
    });
}

inline constexpr Table kernels{matmat_float<float>, matmat_int8, matmat_float<double>};

} // namespace GOSSAMER_ISA
} // namespace gossamer::quant
