#include "../dispatch/bind.hpp"
#include "../linear/handle.hpp"
#include "encoder.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/vector.h>

#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>

namespace gossamer::encoder {
namespace {

using Handle = std::shared_ptr<linear::Handle>;
using Vector = Array<const float, 1>;
using Rows = Array<const float, 2>;

[[noreturn]] void refuse(const std::string& message) { throw std::invalid_argument(message); }

std::vector<float> take(const char* name, const Vector& from, std::size_t size) {
    if (from.shape(0) != size)
        refuse(std::string(name) + " has " + std::to_string(from.shape(0)) + " entries: expected " + std::to_string(size));
    return {from.data(), from.data() + size};
}

std::vector<float> take(const char* name, const Rows& from, std::size_t rows, std::size_t cols) {
    if (from.shape(0) != rows || from.shape(1) != cols) refuse(std::string(name) + " has the wrong shape");
    return {from.data(), from.data() + rows * cols};
}

// the sum of a low-rank pair refers to its terms, which the handle owns: so the pointer shares the handle
std::shared_ptr<const linear::Linear> take(const char* name, const Handle& from, int rows, int cols) {
    if (!from || from->linear->rows != rows || from->linear->cols != cols)
        refuse(std::string(name) + " has the wrong shape");
    return {from, from->linear.get()};
}

class Bound {
public:
    Bound(const std::vector<int>& sizes, float eps, std::optional<Handle> words, std::optional<Rows> word_rows,
          const Rows& positions, const Rows& types, const std::vector<Vector>& norm,
          const std::vector<std::vector<Handle>>& linears, const std::vector<std::vector<Vector>>& biases,
          const std::vector<std::vector<Vector>>& norms, int max_tokens, int threads, bool int8) {
        if (sizes.size() != 7) refuse("sizes: expected hidden, inner, layers, heads, vocabulary, positions, types");
        for (int size : sizes)
            if (size < 1 || size > (1 << 24)) refuse("size=" + std::to_string(size) + ": expected 1..2^24");
        const Shape s{sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5], sizes[6], eps};
        const auto layers = static_cast<std::size_t>(s.layers);
        if (s.hidden % s.heads) refuse("hidden is not a multiple of heads");
        if (!(eps > 0) || threads < 1 || threads > 1024) refuse("eps or threads out of range");
        if (max_tokens < s.positions || static_cast<std::int64_t>(max_tokens) * s.heads > Pool::max_tasks)
            refuse("max_tokens=" + std::to_string(max_tokens) + ": expected at least the number of positions");
        if (linears.size() != layers || biases.size() != layers || norms.size() != layers || norm.size() != 2)
            refuse("expected one list of linear maps, biases and norms a layer");
        Weights w;
        if (words.has_value() == word_rows.has_value()) refuse("expected words or word_rows");
        if (words) w.words = take("words", *words, s.vocabulary, s.hidden);
        if (word_rows) w.word_rows = take("word_rows", *word_rows, s.vocabulary, s.hidden);
        w.positions = take("positions", positions, s.positions, s.hidden);
        w.types = take("types", types, s.types, s.hidden);
        for (int i = 0; i < 2; ++i) w.norm[i] = take("norm", norm[i], s.hidden);
        for (std::size_t i = 0; i < layers; ++i) {
            if (linears[i].size() != maps || biases[i].size() != maps || norms[i].size() != 4)
                refuse("expected 6 linear maps, 6 biases and 4 norm vectors in a layer");
            auto& layer = w.layers.emplace_back();
            for (int map = 0; map < maps; ++map) {
                const int rows = map == widen ? s.inner : s.hidden, cols = map == narrow ? s.inner : s.hidden;
                layer.linear[map] = take("linear map", linears[i][map], rows, cols);
                layer.bias[map] = take("bias", biases[i][map], rows);
            }
            for (int k = 0; k < 4; ++k) layer.norm[k] = take("layer norm", norms[i][k], s.hidden);
        }
        nb::gil_scoped_release release;
        encoder_ = std::make_unique<Encoder>(s, std::move(w), max_tokens, threads, int8);
    }

    void run(Array<const std::int32_t, 1> ids, Array<const std::int32_t, 1> offsets, Array<float, 2> hidden) {
        const Shape& s = encoder_->shape();
        const auto tokens = static_cast<std::int64_t>(ids.shape(0));
        if (offsets.shape(0) < 2 || offsets.data()[0] != 0 || offsets.data()[offsets.shape(0) - 1] != tokens)
            refuse("offsets must rise from 0 to the number of tokens");
        if (tokens > encoder_->max_tokens())
            refuse("tokens=" + std::to_string(tokens) + ": expected at most " + std::to_string(encoder_->max_tokens()));
        for (std::size_t i = 0; i + 1 < offsets.shape(0); ++i) {
            const std::int64_t length = static_cast<std::int64_t>(offsets.data()[i + 1]) - offsets.data()[i];
            if (length < 1 || length > s.positions)
                refuse("a sequence has " + std::to_string(length) + " tokens: expected 1.." + std::to_string(s.positions));
        }
        for (std::int64_t t = 0; t < tokens; ++t)
            if (ids.data()[t] < 0 || ids.data()[t] >= s.vocabulary)
                refuse("token id " + std::to_string(ids.data()[t]) + ": expected 0.." + std::to_string(s.vocabulary - 1));
        if (hidden.shape(0) != ids.shape(0) || hidden.shape(1) != static_cast<std::size_t>(s.hidden))
            refuse("hidden has the wrong shape");
        nb::gil_scoped_release release;
        std::lock_guard lock(mutex_); // one run at a time: workspaces and pool are shared
        encoder_->run(ids.data(), offsets.data(), static_cast<int>(offsets.shape(0)) - 1, hidden.data());
    }

    std::size_t weight_bytes() const { return encoder_->weight_bytes(); }
    std::size_t work_bytes() const { return encoder_->work_bytes(); }
    int max_tokens() const { return encoder_->max_tokens(); }

private:
    std::unique_ptr<Encoder> encoder_;
    std::mutex mutex_;
};

} // namespace

void bind(nb::module_& m) {
    nb::class_<Bound>(m, "Encoder")
        .def(nb::init<const std::vector<int>&, float, std::optional<Handle>, std::optional<Rows>, const Rows&,
                      const Rows&, const std::vector<Vector>&, const std::vector<std::vector<Handle>>&,
                      const std::vector<std::vector<Vector>>&, const std::vector<std::vector<Vector>>&, int, int, bool>(),
             nb::kw_only(), nb::arg("sizes"), nb::arg("eps"), nb::arg("words").none(), nb::arg("word_rows").none(),
             nb::arg("positions"), nb::arg("types"), nb::arg("norm"), nb::arg("linears"), nb::arg("biases"),
             nb::arg("norms"), nb::arg("max_tokens"), nb::arg("threads"), nb::arg("int8"))
        .def("run", &Bound::run, nb::arg("ids"), nb::arg("offsets"), nb::arg("hidden"))
        .def_prop_ro("weight_bytes", &Bound::weight_bytes)
        .def_prop_ro("work_bytes", &Bound::work_bytes)
        .def_prop_ro("max_tokens", &Bound::max_tokens);
}

} // namespace gossamer::encoder
