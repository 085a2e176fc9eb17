#include "../dispatch/bind.hpp"
#include "decoder.hpp"

#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>
#include <string>

namespace gossamer::decoder {
namespace {

using Ids = std::vector<std::int64_t>;
using Logits = Array<float, 2>;

[[noreturn]] void refuse(const std::string& message) { throw std::invalid_argument(message); }

void fits(const Logits& logits, std::size_t rows, const Decoder& decoder) {
    if (logits.shape(0) != rows || logits.shape(1) != static_cast<std::size_t>(decoder.config().vocabulary))
        refuse("logits has the wrong shape");
}

template <class T>
T value(const nb::dict& from, const char* name) {
    if (!from.contains(name)) refuse(std::string(name) + " is missing");
    return nb::cast<T>(from[name]);
}

Config read_config(const nb::dict& from) {
    Config c;
    c.layers = value<int>(from, "layers");
    c.hidden = value<int>(from, "hidden");
    c.inner = value<int>(from, "inner");
    c.heads = value<int>(from, "heads");
    c.kv_heads = value<int>(from, "kv_heads");
    c.head_dim = value<int>(from, "head_dim");
    c.vocabulary = value<int>(from, "vocabulary");
    c.max_context = value<int>(from, "max_context");
    c.eps = value<float>(from, "eps");
    c.rope_theta = value<float>(from, "rope_theta");
    c.int8 = value<bool>(from, "int8");
    const auto kv = value<std::string>(from, "kv");
    if (kv != "float16" && kv != "float32" && kv != "int8") refuse("kv=" + kv + ": expected float16, float32 or int8");
    c.kv = kv == "float16" ? KvType::float16 : kv == "float32" ? KvType::float32 : KvType::int8;
    return c;
}

std::vector<float> read_norm(const nb::handle& from) {
    const auto array = nb::cast<Array<const float, 1>>(from);
    return {array.data(), array.data() + array.shape(0)};
}

// layers: one tuple each of (q, k, v, o, gate, up, down, attention norm, feed-forward norm)
std::shared_ptr<Decoder> make(const nb::dict& config, const nb::list& layers, std::shared_ptr<linear::Handle> embedding,
                              std::shared_ptr<linear::Handle> head, Array<const float, 1> norm, int threads) {
    Model model;
    model.config = read_config(config);
    for (const nb::handle& item : layers) {
        const auto parts = nb::cast<nb::tuple>(item);
        if (parts.size() != 9) refuse("a layer has " + std::to_string(parts.size()) + " parts: expected 9");
        Layer layer;
        Matrix* const matrices[] = {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down};
        for (int i = 0; i < 7; ++i) *matrices[i] = nb::cast<std::shared_ptr<linear::Handle>>(parts[i]);
        layer.norm_attention = read_norm(parts[7]);
        layer.norm_mlp = read_norm(parts[8]);
        model.layers.push_back(std::move(layer));
    }
    model.embedding = std::move(embedding);
    model.head = std::move(head);
    model.norm = {norm.data(), norm.data() + norm.shape(0)};
    nb::gil_scoped_release release;
    return std::make_shared<Decoder>(std::move(model), threads);
}

std::vector<int> generate(Session& session, int max_new_tokens, double temperature, int top_k, double top_p, double penalty,
                          std::uint64_t seed, const Ids& stop_ids, const nb::object& callback) {
    const Settings settings{temperature, top_p, penalty, top_k, seed};
    if (!(temperature >= 0) || !(top_p > 0) || !(penalty > 0) || top_k < 0) refuse("a sampling setting is out of range");
    int since_signal = 0;
    const auto go_on = [&](int id) {
        if (callback.is_none() && ++since_signal < 16) return true;
        since_signal = 0;
        nb::gil_scoped_acquire acquire;
        if (PyErr_CheckSignals() != 0) throw nb::python_error();
        if (callback.is_none()) return true;
        const nb::object answer = callback(id);
        return !answer.is(Py_False);
    };
    nb::gil_scoped_release release;
    return session.generate(max_new_tokens, settings, stop_ids, go_on);
}

} // namespace

void bind(nb::module_& m) {
    nb::class_<Decoder>(m, "Decoder")
        .def(nb::new_(&make), nb::arg("config"), nb::arg("layers"), nb::arg("embedding"), nb::arg("head"), nb::arg("norm"),
             nb::arg("threads"))
        .def_prop_ro("threads", &Decoder::threads)
        .def("start_profile", &Decoder::start_profile)
        .def("stop_profile", [](Decoder& decoder) { // passes; (name, serial, open, busy) of each part, in seconds
            const Profile& profile = decoder.stop_profile();
            nb::list parts;
            for (int i = 0; i < Profile::parts; ++i)
                parts.append(nb::make_tuple(Profile::names[i], 1e-9 * static_cast<double>(profile.serial[i]),
                                            1e-9 * static_cast<double>(profile.open[i]),
                                            1e-9 * static_cast<double>(profile.busy[i].load())));
            return nb::make_tuple(profile.passes, parts);
        })
        .def_prop_ro("scratch_bytes", &Decoder::scratch_bytes)
        .def("decode_batch", [](Decoder& decoder, std::vector<std::shared_ptr<Session>> sessions, const Ids& ids, Logits logits) {
            fits(logits, ids.size(), decoder);
            std::vector<Session*> pointers;
            for (const auto& session : sessions) {
                if (!session) refuse("a session is None");
                pointers.push_back(session.get());
            }
            nb::gil_scoped_release release;
            decoder.decode_batch(pointers, ids, logits.data());
        });
    nb::class_<Session>(m, "Session")
        .def(nb::init<std::shared_ptr<Decoder>>(), nb::arg("decoder"))
        .def_prop_ro("length", &Session::length)
        .def_prop_ro("ids", &Session::ids)
        .def_prop_ro("nbytes", &Session::bytes)
        .def("prefill", [](Session& session, const Ids& ids, Logits logits) {
            fits(logits, 1, session.decoder());
            nb::gil_scoped_release release;
            session.prefill(ids, logits.data());
        })
        .def("logits", [](Session& session, const Ids& ids, Logits logits) {
            fits(logits, ids.size(), session.decoder());
            nb::gil_scoped_release release;
            session.logits(ids, logits.data());
        })
        .def("generate", &generate, nb::arg("max_new_tokens"), nb::arg("temperature"), nb::arg("top_k"), nb::arg("top_p"),
             nb::arg("penalty"), nb::arg("seed"), nb::arg("stop_ids"), nb::arg("callback").none());
    m.def("draw", [](Array<const float, 1> logits, const Ids& seen, double temperature, int top_k, double top_p,
                     double penalty, double uniform) { // for tests against the reference in gossamer.engine.sampling
        const int vocabulary = static_cast<int>(logits.shape(0));
        if (vocabulary < 1) refuse("logits is empty");
        Sampler sampler({temperature, top_p, penalty, top_k, 0}, vocabulary);
        for (std::int64_t id : seen) {
            if (id < 0 || id >= vocabulary) refuse("token id " + std::to_string(id) + ": outside the vocabulary");
            sampler.saw(static_cast<int>(id));
        }
        return sampler.draw_at(logits.data(), uniform);
    });
}

} // namespace gossamer::decoder
