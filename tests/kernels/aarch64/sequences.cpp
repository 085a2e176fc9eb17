// Convolutions and recurrences along sequences.
#include "check.hpp"
#include "depthwise/depthwise.hpp"
#include "fftconv/fftconv.hpp"
#include "ssm/ssm.hpp"

using namespace gossamer;

namespace check {
namespace {

template <class Held>
std::vector<Held> held(std::int64_t count) {
    if constexpr (sizeof(Held) == 2) {
        std::vector<Held> out(static_cast<std::size_t>(count));
        for (Held& x : out) x = brain(normal());
        return out;
    } else {
        return normals<Held>(count);
    }
}
template <class Real, class Held>
void append(std::vector<Real>& to, const std::vector<Held>& from) {
    for (const Held x : from) {
        if constexpr (sizeof(Held) == 2) {
            const std::uint32_t bits = static_cast<std::uint32_t>(x) << 16;
            float value;
            std::memcpy(&value, &bits, 4);
            to.push_back(value);
        } else {
            to.push_back(static_cast<Real>(x));
        }
    }
}

// Forward and backward of everything: gates, direct term, windows, tiles left out. Halves are compared as rounded.
template <class Real, class Held, auto Entry, auto Spectra>
void one_fftconv(const std::string& label, std::vector<int> radices, bool columns, bool twisted, bool products, bool pairs,
                 std::int64_t batch, std::int64_t channels, std::int64_t short_of, bool windows, bool sparse) {
    const auto size = [](std::int64_t n) { return static_cast<std::size_t>(n); };
    std::int64_t points = 1;
    for (const int r : radices) points *= r;
    const int lanes = fftconv::neon_table.bytes / static_cast<int>(sizeof(Real));
    if (columns) points *= lanes * lanes;
    const fftconv::Plan<Real> plan(points, radices, columns, twisted, products, lanes);
    const std::int64_t taps = windows ? points / 3 + 1 : points - short_of;
    const std::int64_t step = windows ? 2 * points - taps - 1 : 0, length = windows ? 2 * step + 5 : points - short_of;
    const std::int64_t all = batch * channels * length;
    const auto u = held<Held>(all), dy = held<Held>(all), before = held<Held>(all), after = held<Held>(all), skip = held<Held>(channels);
    const auto k = normals<Real>(channels * taps);
    std::vector<std::uint8_t> kept(size(plan.tiles()));
    for (auto& t : kept) t = chance(0.5);
    const std::uint8_t* live = sparse ? kept.data() : nullptr;
    const std::int64_t group = columns ? 1 : lanes, groups = (channels + group - 1) / group;
    both<Real>(label, fftconv::neon_table, fftconv::portable_table, [&](const fftconv::Table& table, int threads) {
        const auto view = plan.view(pairs ? table.pair_product : nullptr);
        const fftconv::Shape shape{batch, channels, length, taps, 0, step};
        std::vector<Real> spectra(size(2 * points * group * groups)), out;
        (table.*Spectra)(view, k.data(), {1, channels, taps, taps}, live, nullptr, spectra.data(), threads);
        const auto gate = [&](const auto& x) { return windows ? nullptr : x.data(); };
        std::vector<Held> y(size(all)), du(size(all)), dbefore(size(all)), dafter(size(all));
        std::vector<Real> dk(size(channels * taps));
        std::vector<double> dskip(size(channels));
        (table.*Entry).convolve(view, {shape, u.data(), nullptr, spectra.data(), gate(before), gate(after), gate(skip), y.data(), live}, threads);
        (table.*Entry).differentiate(view,
                                     {shape, dy.data(), u.data(), nullptr, spectra.data(), gate(before), gate(after), gate(skip), du.data(),
                                      windows ? nullptr : dbefore.data(), windows ? nullptr : dafter.data(), dk.data(),
                                      windows ? nullptr : dskip.data(), live},
                                     threads);
        append(out, y), append(out, du), append(out, dk);
        if (!windows) append(out, dbefore), append(out, dafter), append(out, dskip);
        return out;
    }, pairs || sizeof(Held) == 2 ? 1e-2 : rounding(Real()));
}

template <class Real, class Held, auto Entry, auto Spectra>
void all_fftconv(const std::string& kind) {
    const auto one = one_fftconv<Real, Held, Entry, Spectra>;
    for (const bool twisted : {true, false}) {
        for (const int radix : {1, 2, 3, 4, 5, 7, 8, 16})
            one(kind + " columns, radix " + std::to_string(radix), {radix}, true, twisted, false, false, 3, 2, 0, false, false);
        one(kind + " columns, three factors", {4, 2, 3}, true, twisted, false, false, 2, 3, 5, false, false);
        one(kind + " rows", {5, 7}, false, twisted, false, false, 3, 5, 2, false, false);
        one(kind + " products", {6, 9}, false, twisted, true, false, 3, 5, 2, false, false);
    }
    one(kind + " windows", {4, 3}, true, true, false, false, 2, 3, 0, true, false);
    one(kind + " windows of rows", {5, 4}, false, true, false, false, 2, 3, 0, true, false);
    one(kind + " tiles left out", {4, 3}, true, true, false, false, 2, 3, 0, false, true);
    if (sizeof(Real) == 4) one(kind + " products of bfloat16", {6, 9}, false, true, true, true, 3, 5, 2, false, false);
}

template <class Real, auto Forth, auto Back>
void one_lowpass(const std::string& label, std::int64_t factor) {
    const int lanes = fftconv::neon_table.bytes / static_cast<int>(sizeof(Real));
    const fftconv::Plan<Real> plan(6 * lanes * lanes, {2, 3}, true, true, false, lanes);
    const std::int64_t reach = 4, length = factor * 2 * plan.points - 7, taps = length / 2;
    const fftconv::Shape shape{2, 3, length, taps};
    const auto u = normals<Real>(6 * length), dy = normals<Real>(6 * length), k = normals<Real>(3 * taps),
               window = normals<Real>(factor * 2 * reach), weights = normals<Real>(plan.points);
    both<Real>(label + ", factor " + std::to_string(factor), fftconv::neon_table, fftconv::portable_table,
               [&](const fftconv::Table& table, int threads) {
                   std::vector<Real> y(u.size()), du(u.size()), dk(k.size()), out;
                   fftconv::LowPass<Real> call{shape, factor, reach, window.data(), weights.data(), u.data(), k.data(), y.data(), nullptr, nullptr, nullptr};
                   (table.*Forth)(plan.view(nullptr), call, threads);
                   call.dy = dy.data(), call.du = du.data(), call.dk = dk.data();
                   (table.*Back)(plan.view(nullptr), call, threads);
                   append(out, y), append(out, du), append(out, dk);
                   return out;
               });
}

template <class Real, class Held, auto Entry>
void one_depthwise(const std::string& kind, std::int64_t taps, std::int64_t length, bool by_token) {
    const std::int64_t batch = 2, channels = 21, left = taps / 2, outputs = length + 2 * left - taps + 1;
    const auto x = held<Held>(batch * channels * length), dy = held<Held>(batch * channels * outputs);
    const auto w = normals<Real>(channels * taps), bias = normals<Real>(channels);
    const depthwise::Shape shape{batch, channels, length, outputs, taps, left, by_token};
    both<Real>(kind + " of " + std::to_string(taps) + " taps" + (by_token ? ", tokens" : ""), depthwise::neon_table, depthwise::portable_table,
               [&](const depthwise::Table& table, int threads) {
                   std::vector<Held> y(dy.size());
                   std::vector<Real> dw(w.size()), db(bias.size()), out;
                   (table.*Entry).convolve(shape, x.data(), w.data(), bias.data(), y.data(), threads);
                   (table.*Entry).correlate(shape, x.data(), dy.data(), dw.data(), db.data(), threads);
                   append(out, y), append(out, dw), append(out, db);
                   return out;
               },
               sizeof(Held) == 2 ? 1e-2 : rounding(Real()));
}

template <class Real, auto Entry>
void one_ssm(const std::string& kind, std::int64_t rows, std::int64_t n, std::int64_t length, bool reverse) {
    auto z = normals<Real>(2 * rows * n);
    for (std::size_t i = 0; i < z.size(); i += 2) { // within the unit circle
        const Real shrink = Real(0.99) / std::max(Real(1), std::hypot(z[i], z[i + 1]));
        z[i] *= shrink, z[i + 1] *= shrink;
    }
    const auto c = normals<Real>(2 * rows * n), slope = normals<Real>(rows * length), b = normals<Real>(2 * rows * length * n),
               initial = normals<Real>(2 * rows * n), slopes = normals<Real>(2 * rows * length * n);
    both<Real>(kind + " of length " + std::to_string(length), ssm::neon_table, ssm::portable_table, [&](const ssm::Table& table, int threads) {
        const auto& entry = table.*Entry;
        const ssm::Modes<Real> modes{c.data(), z.data(), rows, n, length};
        const ssm::Steps<Real> steps{z.data(), initial.data(), rows, length, n, reverse};
        std::vector<Real> kernel(slope.size()), dc(c.size()), dz(c.size()), x(b.size()), db(b.size()), da(c.size()), dinitial(c.size()), out;
        entry.kernel(modes, kernel.data(), threads);
        entry.kernel_back(modes, slope.data(), dc.data(), dz.data(), threads);
        entry.scan(steps, b.data(), x.data(), threads);
        entry.scan_back(steps, x.data(), slopes.data(), db.data(), da.data(), dinitial.data(), threads);
        append(out, kernel), append(out, dc), append(out, dz), append(out, x), append(out, db), append(out, da), append(out, dinitial);
        return out;
    });
}

} // namespace

void sequences() {
    all_fftconv<float, float, &fftconv::Table::float32, &fftconv::Table::spectrum32>("fftconv float32");
    all_fftconv<double, double, &fftconv::Table::float64, &fftconv::Table::spectrum64>("fftconv float64");
    all_fftconv<float, std::uint16_t, &fftconv::Table::bfloat16_in_float32, &fftconv::Table::spectrum32>("fftconv bfloat16");
    for (const int factor : {2, 4, 8, 16}) {
        one_lowpass<float, &fftconv::Table::lowpass32, &fftconv::Table::lowpass_back32>("fftconv lowpass float32", factor);
        one_lowpass<double, &fftconv::Table::lowpass64, &fftconv::Table::lowpass_back64>("fftconv lowpass float64", factor);
    }
    for (const bool by_token : {false, true})
        for (const auto& [taps, length] : {std::pair{1, 1}, {3, 50}, {4, 33}, {31, 40}}) {
            one_depthwise<float, float, &depthwise::Table::float32>("depthwise float32", taps, length, by_token);
            one_depthwise<double, double, &depthwise::Table::float64>("depthwise float64", taps, length, by_token);
            one_depthwise<float, std::uint16_t, &depthwise::Table::bfloat16_in_float32>("depthwise bfloat16", taps, length, by_token);
        }
    for (const int length : {1, 63, 200}) {
        one_ssm<float, &ssm::Table::float32>("ssm float32", 3, 9, length, false);
        one_ssm<double, &ssm::Table::float64>("ssm float64", 2, 16, length, true);
    }
}

} // namespace check
