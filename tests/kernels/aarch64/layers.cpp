// What decoder and encoder do besides products.
#include "check.hpp"
#include "decoder/ops.hpp"
#include "encoder/encoder.hpp"

using namespace gossamer;

namespace check {
namespace {

using Body = std::function<std::vector<float>(const decoder::Ops&, const encoder::Table&)>;

// The largest entry of the result bounds all: sums, exponentials and divisions come before it.
void same(const std::string& label, const Body& body, double tolerance = 2e-6) {
    const auto ours = body(decoder::neon_table, encoder::neon_table), theirs = body(decoder::portable_table, encoder::portable_table);
    double top = 0;
    for (const float x : theirs)
        if (std::isfinite(x)) top = std::max(top, std::fabs(static_cast<double>(x)));
    compare(label, ours, theirs, std::vector<double>(theirs.size(), top), tolerance);
}

void attention(decoder::KvType type, const char* name, int width, int queries) {
    const int stored = 2 * width * decoder::page_positions * 4;
    const auto keys = normals<float>(decoder::page_positions * width), values = normals<float>(decoder::page_positions * width);
    const auto q = normals<float>(queries * width);
    std::vector<int> limit;
    for (int i = 0; i < queries; ++i) limit.push_back(i == 0 ? 256 : static_cast<int>(integer(1, 256)));
    const std::string label = std::string("decoder attention, ") + name + ", " + std::to_string(width) + " wide, " + std::to_string(queries) + " queries";
    std::vector<std::uint8_t> written[2];
    int call = 0;
    same(label, [&](const decoder::Ops& ops, const encoder::Table&) {
        std::vector<std::uint8_t> memory(static_cast<std::size_t>(stored));
        std::vector<float> scales(2 * decoder::page_positions);
        const decoder::KvView page{memory.data(), memory.data() + stored / 2, scales.data(), scales.data() + decoder::page_positions};
        for (int t = 0; t < decoder::page_positions; ++t) ops.put(type, page, t, width, keys.data() + t * width, values.data() + t * width);
        written[call++] = memory;
        std::vector<float> sums(static_cast<std::size_t>(queries * width), 0.25f), out;
        std::vector<decoder::Partial> partials;
        for (int i = 0; i < queries; ++i) partials.push_back({i ? 0.5f : -INFINITY, i ? 1.5f : 0.0f, sums.data() + i * width});
        ops.attend(type, page, {queries, width, q.data(), limit.data(), partials.data()});
        for (int i = 0; i < queries; ++i)
            for (int d = 0; d < width; ++d) out.push_back(partials[static_cast<std::size_t>(i)].values[d] / partials[static_cast<std::size_t>(i)].sum);
        return out;
    });
    compare(label + " as stored", written[0], written[1]);
}

} // namespace

void layers() {
    for (const int n : {1, 16, 31, 576}) {
        const std::string size = " of " + std::to_string(n);
        const auto x = normals<float>(n), w = normals<float>(n), b = normals<float>(n);
        same("rms norm" + size, [&](const decoder::Ops& ops, const encoder::Table&) {
            std::vector<float> out(x.size());
            ops.rms_norm(x.data(), w.data(), n, 1e-5f, out.data());
            return out;
        });
        same("swiglu" + size, [&](const decoder::Ops& ops, const encoder::Table&) {
            std::vector<float> gate(x);
            for (float& g : gate) g *= 30;
            ops.swiglu(gate.data(), w.data(), n);
            return gate;
        });
        same("add, argmax" + size, [&](const decoder::Ops& ops, const encoder::Table&) {
            std::vector<float> sum(x);
            ops.add(sum.data(), w.data(), n);
            sum.push_back(static_cast<float>(ops.argmax(sum.data(), n)));
            return sum;
        });
        same("exponentials" + size, [&](const decoder::Ops& ops, const encoder::Table&) {
            std::vector<float> out(x.size() + 1);
            out.back() = ops.exponentials(x.data(), n, 3, 7, out.data());
            return out;
        });
        same("rotation" + size, [&](const decoder::Ops& ops, const encoder::Table&) {
            std::vector<float> head(x);
            head.insert(head.end(), w.begin(), w.end());
            ops.rotate(head.data(), b.data(), x.data(), n);
            return head;
        });
        same("gelu" + size, [&](const decoder::Ops&, const encoder::Table& table) {
            std::vector<float> out(x.size());
            table.gelu(x.data(), b.data(), n, out.data());
            return out;
        });
        same("layer norm" + size, [&](const decoder::Ops&, const encoder::Table& table) {
            std::vector<float> out(x.size());
            table.add_norm(x.data(), w.data(), b.data(), {w.data(), b.data()}, 1e-12f, n, out.data());
            return out;
        });
    }
    for (const int width : {48, 128})
        for (const int queries : {1, 2, 7}) { // groups of four, three, two and one
            attention(decoder::KvType::float32, "float32", width, queries);
            attention(decoder::KvType::float16, "float16", width, queries);
            attention(decoder::KvType::int8, "int8", width, queries);
        }
    for (const auto& [length, width] : {std::pair{1, 8}, {5, 32}, {33, 20}}) {
        const auto qkv = normals<float>(3 * length * width), bias = normals<float>(3 * width);
        same("encoder attention", [&](const decoder::Ops&, const encoder::Table& table) {
            std::vector<float> out(static_cast<std::size_t>(length * width));
            const float *p = qkv.data(), *b = bias.data();
            table.attend({p, p + width, p + 2 * width, b, b + width, b + 2 * width, out.data(), 3 * width, width, length, width});
            return out;
        });
    }
}

} // namespace check
