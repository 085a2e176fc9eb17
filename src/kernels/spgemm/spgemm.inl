// The passes of the family; each <isa>.cpp includes this and exports its table.
#include "queue.inl"
#include "shared.inl"

namespace gossamer::spgemm {
inline namespace GOSSAMER_ISA {

inline constexpr std::int64_t rows_per_chunk = 1024;

template <class Index, class Body>
void over_rows(std::int64_t rows, int threads, std::int64_t work, const Body& body) {
    parallel_chunks(ceil_div(rows, rows_per_chunk), worthwhile_threads(work, threads), [&](std::int64_t chunk) {
        body(chunk * rows_per_chunk, least(rows, (chunk + 1) * rows_per_chunk));
    });
}

template <class Index>
bool inspect(const Job<Index>& job) {
    bool ascends = true;
    over_rows<Index>(job.inner, job.threads, job.b_ptr[job.inner] + job.inner, [&](std::int64_t from, std::int64_t to) {
        bool mine = true;
        for (std::int64_t k = from; k < to; ++k) {
            const std::int64_t begin = job.b_ptr[k], end = job.b_ptr[k + 1];
            bool rises = true;
            for (std::int64_t q = begin + 1; q < end; ++q) rises &= job.b_col[q] > job.b_col[q - 1];
            Index low = begin < end ? job.b_col[begin] : 0, high = begin < end ? job.b_col[end - 1] : 0;
            if (!rises) {
                mine = false;
                for (std::int64_t q = begin; q < end; ++q) low = least(low, job.b_col[q]), high = most(high, job.b_col[q]);
            }
            job.first[k] = low;
            job.last[k] = begin < end ? high + std::int64_t{1} : low;
        }
        if (!mine) __atomic_store_n(&ascends, false, __ATOMIC_RELAXED);
    });
    return ascends;
}

inline void raise(std::int64_t* to, std::int64_t value) {
    std::int64_t seen = __atomic_load_n(to, __ATOMIC_RELAXED);
    while (seen < value && !__atomic_compare_exchange_n(to, &seen, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
}

template <class Index>
Kind choose(const Job<Index>& job, std::int64_t row, std::int64_t total) {
    const std::int64_t fma = job.fma[row], window = job.high[row] - job.low[row], bound = job.bound[row];
    const std::int64_t terms = job.a_ptr[row + 1] - job.a_ptr[row];
    if (fma == 0) return empty;
    if (job.mask_ptr) return job.complement || job.mask_ptr[row + 1] > job.mask_ptr[row] ? hash : empty;
    const bool scales = terms == 1 && job.b_sorted, merges = terms <= 4 && job.b_sorted;
    if (job.forced == scale ? scales : job.forced == merge ? merges : job.forced == repeat ? most(fma, terms) <= repeat_limit : job.forced > 0)
        return static_cast<Kind>(job.forced);
    if (scales) return scale;
    if (job.threads > 1 && fma > job.split_floor && fma > total / (job.split_share * job.threads)) return split;
    if (fma <= job.small_limit) return small;
    if (merges && fma <= 4 * job.small_limit) return merge;
    if (window <= job.dense_window || bound > window / job.dense_ratio) return dense;
    return hash;
}

// Rows that look like a run of equal ones, as in a stencil: as many terms, products and columns.
template <class Index>
void mark_repeats(const Job<Index>& job, std::int64_t from, std::int64_t to) {
    constexpr std::int64_t shortest = 4;
    const auto alike = [&](std::int64_t r, std::int64_t s) {
        return job.fma[r] == job.fma[s] && job.high[r] - job.low[r] == job.high[s] - job.low[s] &&
               job.a_ptr[r + 1] - job.a_ptr[r] == job.a_ptr[s + 1] - job.a_ptr[s];
    };
    for (std::int64_t begin = from, end; begin < to; begin = end) {
        for (end = begin + 1; end < to && alike(begin, end);) ++end;
        const Kind kind = static_cast<Kind>(job.kind[begin]);
        const std::int64_t terms = job.a_ptr[begin + 1] - job.a_ptr[begin];
        if (end - begin >= shortest && most(job.fma[begin], terms) <= repeat_limit &&
            (kind == small || kind == merge || kind == dense || kind == hash))
            for (std::int64_t row = begin; row < end; ++row) job.kind[row] = repeat;
    }
}

template <class Index>
void analyse(Job<Index>& job) {
    const std::int64_t work = job.a_ptr[job.rows] + job.rows;
    std::int64_t total = 0;
    over_rows<Index>(job.rows, job.threads, work, [&](std::int64_t from, std::int64_t to) {
        std::int64_t sum = 0;
        for (std::int64_t row = from; row < to; ++row) {
            std::int64_t fma = 0, low = job.cols, high = 0;
            for (std::int64_t p = job.a_ptr[row]; p < job.a_ptr[row + 1]; ++p) {
                const std::int64_t k = job.a_col[p], n = job.b_ptr[k + 1] - job.b_ptr[k];
                if (n == 0) continue;
                fma += n;
                low = least(low, job.first[k]);
                high = most(high, job.last[k]);
            }
            if (fma == 0) low = high = 0;
            job.fma[row] = fma;
            job.low[row] = low;
            job.high[row] = high;
            job.bound[row] = least(fma, high - low);
            sum += fma;
        }
        __atomic_fetch_add(&total, sum, __ATOMIC_RELAXED);
    });
    over_rows<Index>(job.rows, job.threads, job.rows * 8, [&](std::int64_t from, std::int64_t to) {
        std::int64_t widest = 0, fullest = 0;
        for (std::int64_t row = from; row < to; ++row) job.kind[row] = choose(job, row, total);
        if (job.forced < 0 && !job.mask_ptr) mark_repeats(job, from, to);
        for (std::int64_t row = from; row < to; ++row) {
            const Kind kind = static_cast<Kind>(job.kind[row]);
            if (kind == dense) widest = most(widest, job.high[row] - job.low[row] + 64);
            if (kind == small || kind == repeat) fullest = most(fullest, job.fma[row]);
            if (kind == hash || kind == hash_vector) {
                const std::int64_t masked = job.mask_ptr ? job.mask_ptr[row + 1] - job.mask_ptr[row] : 0;
                fullest = most(fullest, masked + job.bound[row]);
                if (job.mask_ptr && !job.complement) job.bound[row] = least(job.bound[row], masked);
            }
        }
        raise(&job.widest, widest);
        raise(&job.fullest, fullest);
    });
}

// Counts all rows, or computes those whose places are known; rows that all threads share come first.
template <class Ring, class Index>
void pass(Job<Index>& job) {
    using Value = typename Ring::Value;
    Value* const out = static_cast<Value*>(job.c_val);
    if constexpr (!counting<Ring>)
        if (job.starts) return in_one_phase<Ring>(job);
    for (std::int64_t row = 0; row < job.rows; ++row) {
        if (job.kind[row] != split) continue;
        const std::int64_t at = job.c_ptr ? job.c_ptr[row] : 0;
        job.count[row] = by_all_threads<Ring>(job, row, job.c_col + at, out + at);
    }
    const int threads = static_cast<int>(most<std::int64_t>(1, least<std::int64_t>(job.threads, job.tokens)));
    Scratch memory(Worker<Ring, Index>::bytes(job), threads);
    Scratch started(threads, 1);
    std::uint8_t* const known = reinterpret_cast<std::uint8_t*>(started.part(0));
    for (int t = 0; t < threads; ++t) known[t] = 0;
    parallel_chunks_by_thread(job.tokens, threads, [&](std::int64_t token, int thread) {
        Worker<Ring, Index> worker(job, memory.part(thread), !known[thread]);
        known[thread] = 1;
        for (std::int64_t row = job.cuts[token]; row < job.cuts[token + 1]; ++row) {
            if (job.kind[row] == split) continue;
            const std::int64_t at = job.c_ptr ? job.c_ptr[row] : 0;
            job.count[row] = worker.run(row, job.c_col + at, out + at);
        }
    });
}

template <class Index>
inline constexpr Passes<Index> passes{
    inspect<Index>,
    analyse<Index>,
    pass<Pattern, Index>,
    {pass<PlusTimes<float>, Index>, pass<PlusTimes<double>, Index>, pass<PlusTimes<Complex<float>>, Index>,
     pass<PlusTimes<Complex<double>>, Index>, pass<PlusTimes<std::int32_t>, Index>,
     pass<PlusTimes<std::int64_t>, Index>, pass<MinPlus<float>, Index>, pass<MinPlus<double>, Index>,
     pass<MinPlus<std::int32_t>, Index>, pass<MinPlus<std::int64_t>, Index>, pass<MaxTimes<float>, Index>,
     pass<MaxTimes<double>, Index>, pass<MaxTimes<std::int32_t>, Index>, pass<MaxTimes<std::int64_t>, Index>,
     pass<OrAnd, Index>, pass<PlusPair, Index>}};

inline constexpr Table kernels = passes<std::int32_t>;

} // namespace GOSSAMER_ISA
} // namespace gossamer::spgemm
