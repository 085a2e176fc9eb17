// The one template of the family; each <isa>.cpp includes it and exports its table.
#include "../dispatch/parallel.hpp"
#include "../dispatch/scratch.hpp"
#include "registers.inl"
#include "walsh.hpp"

namespace gossamer::walsh {
inline namespace GOSSAMER_ISA {

// A tile is what registers hold at once; a block is transformed where it lies, in some cache; a panel is some columns
// of rows that lie far apart, taken through a buffer so that memory is read and written once for all their levels.
// Levels always run from the nearest neighbours to the farthest: however the work is cut, the bits are the same.
template <class T>
inline constexpr int tile_levels = Lanes<T>::levels + tile_radix;
template <class T>
inline constexpr int block_levels = sizeof(T) == 4 ? 20 : 19;
inline constexpr int panel_levels = 12;
inline constexpr std::int64_t panel_bytes = 1024; // of one row
inline constexpr std::int64_t buffer_bytes = 1 << 17;
inline constexpr int max_radix = 3; // rows a power of two apart share a cache set, which has eight ways

constexpr std::int64_t power(int levels) { return std::int64_t{1} << levels; }

// Levels [Lo, Hi) of a tile.
template <class T, int Lo, int Hi>
void tile(const T* from, T* to, T scale) {
    using V = Lanes<T>;
    constexpr int in_lanes = Hi < V::levels ? Hi : V::levels;
    typename V::type v[1 << tile_radix];
#pragma GCC unroll 16
    for (int i = 0; i < 1 << tile_radix; ++i) v[i] = V::load(from + i * V::width);
    if (scale != T{1}) {
        const auto factor = V::splat(scale);
#pragma GCC unroll 16
        for (int i = 0; i < 1 << tile_radix; ++i) v[i] *= factor;
    }
#pragma GCC unroll 16
    for (int i = 0; i < 1 << tile_radix; ++i) v[i] = within<T, Lo, in_lanes>(v[i]);
    across<Hi - in_lanes>(v);
#pragma GCC unroll 16
    for (int i = 0; i < 1 << tile_radix; ++i) V::store(to + i * V::width, v[i]);
}

template <class T>
using Tile = void (*)(const T*, T*, T);

template <class T, int Lo, int... Hi>
constexpr Tile<T> pick_tile(int levels, std::integer_sequence<int, Hi...>) {
    constexpr Tile<T> all[] = {tile<T, Lo, (Hi < Lo ? Lo : Hi)>...};
    return all[levels];
}

template <class T>
Tile<T> pick_tile(int low, int high) { // low is 0 for real numbers and 1 for complex ones
    constexpr std::make_integer_sequence<int, tile_levels<T> + 1> every{};
    return low ? pick_tile<T, 1>(high, every) : pick_tile<T, 0>(high, every);
}

// `Radix` levels over rows of `vectors` vectors; the rows of one butterfly lie `step` rows apart.
template <class T, int Radix>
void pass(const T* from, std::int64_t from_stride, T* to, std::int64_t to_stride, std::int64_t rows, std::int64_t step,
          std::int64_t vectors, T scale = 1) {
    using V = Lanes<T>;
    constexpr int count = 1 << Radix;
    for (std::int64_t top = 0; top < rows; top += step * count)
        for (std::int64_t row = top; row < top + step; ++row)
            for (std::int64_t column = 0; column < vectors; ++column) {
                const T* source = from + row * from_stride + column * V::width;
                T* target = to + row * to_stride + column * V::width;
                typename V::type v[count];
#pragma GCC unroll 16
                for (int i = 0; i < count; ++i) v[i] = V::load(source + i * step * from_stride);
                if (scale != T{1}) {
                    const auto factor = V::splat(scale);
#pragma GCC unroll 16
                    for (int i = 0; i < count; ++i) v[i] *= factor;
                }
                across<Radix>(v);
#pragma GCC unroll 16
                for (int i = 0; i < count; ++i) V::store(target + i * step * to_stride, v[i]);
            }
}

template <class T>
using Pass = void (*)(const T*, std::int64_t, T*, std::int64_t, std::int64_t, std::int64_t, std::int64_t, T);

template <class T>
Pass<T> pick_pass(int radix) {
    return radix == 3 ? pass<T, 3> : radix == 2 ? pass<T, 2> : pass<T, 1>;
}

// The next radix when `levels` are left: passes as few and as equal as they can be.
inline int next_radix(int levels) { return static_cast<int>(ceil_div(levels, ceil_div(levels, max_radix))); }

// One contiguous block of 2^high, more than a tile; what is left of it is transformed where it lies in the cache.
template <class T>
void block(T* x, int low, int high, T scale) {
    if (high == tile_levels<T>) return pick_tile<T>(low, high)(x, x, scale);
    const int radix = next_radix(high - tile_levels<T>);
    const int inner = high - radix;
    for (std::int64_t part = 0; part < 1 << radix; ++part) block(x + (part << inner), low, inner, scale);
    pick_pass<T>(radix)(x, power(inner), x, power(inner), power(radix), 1, power(inner) / Lanes<T>::width, T{1});
}

// `size` neighbouring numbers, in blocks of 2^high; levels [low, high).
template <class T>
void flat(const T* from, T* to, std::int64_t size, int low, int high, T scale) {
    if (high > tile_levels<T>) {
        if (from != to) std::memcpy(to, from, static_cast<std::size_t>(size) * sizeof(T));
        for (std::int64_t at = 0; at < size; at += power(high)) block(to + at, low, high, scale);
        return;
    }
    constexpr std::int64_t step = power(tile_levels<T>);
    const Tile<T> run = pick_tile<T>(low, high);
    std::int64_t at = 0;
    for (; at + step <= size; at += step) run(from + at, to + at, scale);
    if (at == size) return;
    alignas(64) T rest[step] = {};
    std::memcpy(rest, from + at, static_cast<std::size_t>(size - at) * sizeof(T));
    run(rest, rest, scale);
    std::memcpy(to + at, rest, static_cast<std::size_t>(size - at) * sizeof(T));
}

// `width` columns of 2^levels rows that lie `stride` apart.
template <class T>
void panel(const T* from, T* to, std::int64_t stride, int levels, std::int64_t width, T scale, T* buffer) {
    using V = Lanes<T>;
    const std::int64_t rows = power(levels), vectors = ceil_div(width, V::width), line = vectors * V::width;
    const bool ragged = line != width; // such columns enter and leave the buffer one by one
    const T* source = from;
    std::int64_t source_stride = stride;
    if (ragged || !levels) {
        for (std::int64_t row = 0; row < rows; ++row) {
            for (std::int64_t i = 0; i < width; ++i) buffer[row * line + i] = scale * from[row * stride + i];
            for (std::int64_t i = width; i < line; ++i) buffer[row * line + i] = 0;
        }
        source = buffer;
        source_stride = line;
        scale = 1;
    }
    for (int done = 0; done < levels;) {
        const int radix = next_radix(levels - done);
        const Pass<T> run = pick_pass<T>(radix);
        const std::int64_t step = power(done);
        done += radix;
        if (done == levels && !ragged) return run(source, source_stride, to, stride, rows, step, vectors, scale);
        run(source, source_stride, buffer, line, rows, step, vectors, scale);
        source = buffer;
        source_stride = line;
        scale = 1;
    }
    for (std::int64_t row = 0; row < rows; ++row)
        std::memcpy(to + row * stride, buffer + row * line, static_cast<std::size_t>(width) * sizeof(T));
}

// Levels of a strided axis. Panels are cut where cache lines begin, which is the same place in every row.
template <class T>
void columns(const T* from, T* to, std::int64_t outer, int levels, std::int64_t inner, T scale, int threads) {
    constexpr std::int64_t bytes = sizeof(T), in_line = 64 / bytes;
    const std::int64_t widest = most(in_line, least(panel_bytes, buffer_bytes >> levels) / bytes);
    const std::int64_t rows = power(levels), beyond = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(to) % 64);
    const std::int64_t head = inner % in_line || beyond % bytes ? 0 : (64 - beyond) % 64 / bytes;
    const std::int64_t panels = (head > 0) + ceil_div(inner - head, widest);
    threads = worthwhile_threads(outer * rows * inner * (levels + 1) / 4, threads);
    Scratch buffers(rows * widest * bytes, threads);
    parallel_chunks_by_thread(outer * panels, threads, [&](std::int64_t chunk, int thread) {
        const std::int64_t number = chunk % panels - (head > 0);
        const std::int64_t first = number < 0 ? 0 : head + number * widest;
        const std::int64_t width = number < 0 ? head : least(widest, inner - first);
        const std::int64_t at = chunk / panels * rows * inner + first;
        panel(from + at, to + at, inner, levels, width, scale, reinterpret_cast<T*>(buffers.part(thread)));
    });
}

// Blocks of neighbours, levels [low, high), small enough to give every thread some.
template <class T>
int neighbours(const T* from, T* to, Shape shape, T scale, int threads) {
    const int low = shape.inner == 2; // a complex number
    const std::int64_t size = shape.outer * power(shape.levels) * shape.inner;
    threads = worthwhile_threads(size * (shape.levels + 1) / 4, threads);
    int high = least(shape.levels + low, block_levels<T>);
    while (threads > 1 && high > tile_levels<T> + max_radix && size >> high < 4 * threads) --high;
    const std::int64_t piece = most(power(high), power(tile_levels<T> + 4));
    parallel_chunks(ceil_div(size, piece), threads, [&](std::int64_t chunk) {
        const std::int64_t at = chunk * piece;
        flat(from + at, to + at, least(piece, size - at), low, high, scale);
    });
    return high - low;
}

template <class T>
void transform(const T* from, T* to, Shape shape, T scale, int threads) {
    int done = shape.inner <= 2 ? neighbours(from, to, shape, scale, threads) : 0;
    bool touched = shape.inner <= 2;
    while (done < shape.levels || !touched) {
        const int left = shape.levels - done;
        const int levels = left ? static_cast<int>(ceil_div(left, ceil_div(left, panel_levels))) : 0;
        columns(touched ? to : from, to, shape.outer * power(left - levels), levels, shape.inner * power(done),
                touched ? T{1} : scale, threads);
        done += levels;
        touched = true;
    }
}

inline constexpr Table kernels{transform<float>, transform<double>,
                               transform<std::uint32_t>, transform<std::uint64_t>};

} // namespace GOSSAMER_ISA
} // namespace gossamer::walsh
