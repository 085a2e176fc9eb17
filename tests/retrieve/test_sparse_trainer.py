"""Training: what it learns, that it resumes to the bit, and what it refuses."""

import numpy as np
import pytest

from gossamer._core.errors import ArgumentError, FormatError, ShapeError

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from gossamer.retrieve import (  # noqa: E402
    HeterogeneousTeacher,
    IDFQueryEncoder,
    InvertedIndex,
    SparseDistillTrainer,
    SparseDocEncoder,
    flops_loss,
    kl_loss,
    ndcg,
)

DOCS = [
    "spider web thread", "wind river stone", "flour oven sugar", "sail harbour storm", "star planet moon",
    "rocket engine wheel", "bridge tower garden", "rain soil root",
]  # fmt: skip
# words that no document contains: only what is learnt connects them
QUERIES = ["morning", "bread", "ship", "map", "orbit", "road", "seed", "leaf"]
PAIRS = list(zip(QUERIES, DOCS))


def teach(queries, docs):
    return np.array([[float((query, doc) in PAIRS) for doc in docs] for query in queries])


def trainer(bert, tokenizer, teacher=None, *, lift=0.0, **options):
    model = bert()
    with torch.no_grad():
        model.cls.predictions.bias += lift
    encoder = SparseDocEncoder(model, tokenizer)
    queries = IDFQueryEncoder.from_corpus(tokenizer, [*DOCS, *QUERIES])
    teacher = HeterogeneousTeacher([teach]) if teacher is None else teacher
    chosen = {"lambda_d": 1e-3, "ramp_steps": 10, "lr": 1e-3, "batch_size": 8, **options}
    return SparseDistillTrainer(encoder, queries, teacher, **chosen)


def same(one, two):
    pairs = zip(one.encoder.model.state_dict().items(), two.encoder.model.state_dict().values())
    return all(torch.equal(a, b) for (_, a), b in pairs)


def test_eight_documents_are_learnt_by_heart(bert, tokenizer):
    # behind the relu of a random model half of the entries would never learn
    made = trainer(bert, tokenizer, lift=5.0, lr=2e-3).fit(PAIRS, 60)
    rows, asked = made.encoder.encode(DOCS), made.query_encoder.encode(QUERIES)
    ids, _ = InvertedIndex().build(rows).search(asked, 8)
    assert ndcg(ids, range(8)) == 1
    assert made.history["rank"][-1] < 0.5 * made.history["rank"][0]
    assert not made.encoder.model.training


def test_more_penalty_leaves_fewer_weights(bert, tokenizer):
    counts = []
    for lambda_d in (0.0, 0.01, 0.1, 1.0):
        made = trainer(bert, tokenizer, lambda_d=lambda_d).fit(PAIRS, 50)
        counts.append(made.encoder.encode(DOCS).nnz / len(DOCS))
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] < 0.5 * counts[0]


def test_the_first_loss_is_the_formula(bert, tokenizer):
    made = trainer(bert, tokenizer, lambda_d=0.5, ramp_steps=4)
    w = torch.tensor(made.encoder.encode(DOCS).toarray())
    q = torch.tensor(made.query_encoder.encode(QUERIES).toarray())
    rank = kl_loss(q @ w.T, torch.tensor(made.teacher(QUERIES, DOCS))).item()
    flops = flops_loss(w).item()
    history = made.fit(PAIRS, 1).history
    assert np.isclose(history["rank"][0], rank, rtol=1e-4)
    assert np.isclose(history["flops"][0], flops, rtol=1e-4)
    assert np.isclose(history["loss"][0], rank + 0.5 / 16 * flops, rtol=1e-4)
    assert np.isclose(history["nonzeros"][0], (w > 0).sum() / 8)


def test_the_rate_rises_and_falls(bert, tokenizer):
    rates = trainer(bert, tokenizer, warmup=0.2).fit(PAIRS, 10).history["lr"]
    np.testing.assert_allclose(
        np.array(rates) / 1e-3, [0.5, 1, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]
    )


@pytest.mark.parametrize("loss", ["kl", "info_nce", "margin_mse"])
def test_own_candidates_are_ranked_by_every_loss(bert, tokenizer, loss):
    triples = [(query, doc, DOCS[i - 1], DOCS[i - 2]) for i, (query, doc) in enumerate(PAIRS)]
    scores = np.tile([5.0, 0.0, 0.0], (8, 1))
    made = trainer(bert, tokenizer, loss=loss)
    made.fit(triples, 40, scores=None if loss == "info_nce" else scores)
    assert made.history["rank"][-1] < 0.5 * made.history["rank"][0]


def test_scores_given_are_those_the_teacher_would_give(bert, tokenizer):
    triples = [(query, doc, DOCS[i - 1]) for i, (query, doc) in enumerate(PAIRS)]
    teacher = HeterogeneousTeacher([teach])
    scores = np.concatenate([teacher(example[:1], example[1:]) for example in triples])
    made = [trainer(bert, tokenizer).fit(triples, 3), trainer(bert, tokenizer).fit(triples, 3, scores=scores)]
    assert same(*made)


def test_accumulated_batches_are_one_mean(bert, tokenizer):
    made = trainer(bert, tokenizer, batch_size=4, accumulate=2, lambda_d=0.0).fit(PAIRS, 1)
    order = np.random.default_rng((0, 0)).permutation(8)
    w = torch.tensor(trainer(bert, tokenizer).encoder.encode(DOCS).toarray())
    q = torch.tensor(made.query_encoder.encode(QUERIES).toarray())
    target = torch.tensor(30 * np.eye(8, dtype=np.float32))
    parts = [kl_loss((q @ w.T)[part][:, part], target[part][:, part]) for part in np.split(order, 2)]
    assert np.isclose(made.history["rank"][0], np.mean([part.item() for part in parts]), rtol=1e-4)


def test_training_repeats_and_resumes_to_the_bit(bert, tokenizer, tmp_path):
    options = {"batch_size": 3, "accumulate": 2, "seed": 5}
    whole = trainer(bert, tokenizer, **options).fit(PAIRS, 9)
    path = tmp_path / "training.safetensors"
    assert same(whole, trainer(bert, tokenizer, **options).fit(PAIRS, 9, checkpoint=path, every=4))

    class Stopped(Exception):
        pass

    def stop(step):
        if step == 5:
            raise Stopped

    path.unlink()
    with pytest.raises(Stopped):
        trainer(bert, tokenizer, progress=stop, **options).fit(PAIRS, 9, checkpoint=path, every=4)
    resumed = trainer(bert, tokenizer, **options).fit(PAIRS, 9, checkpoint=path, every=4)
    assert same(whole, resumed)
    assert resumed.history == whole.history
    assert same(whole, trainer(bert, tokenizer, **options).fit(PAIRS, 9, checkpoint=path))  # already there
    assert not same(whole, trainer(bert, tokenizer, **{**options, "seed": 6}).fit(PAIRS, 9))


def test_a_wrong_checkpoint_is_refused(bert, tokenizer, tmp_path):
    path = tmp_path / "training.safetensors"
    trainer(bert, tokenizer).fit(PAIRS, 2, checkpoint=path)
    with pytest.raises(FormatError, match="lambda_d"):
        trainer(bert, tokenizer, lambda_d=0.5).fit(PAIRS, 2, checkpoint=path)
    with pytest.raises(FormatError, match="steps=2"):
        trainer(bert, tokenizer).fit(PAIRS, 3, checkpoint=path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(FormatError, match="not a checkpoint"):
        trainer(bert, tokenizer).fit(PAIRS, 2, checkpoint=path)


def test_bad_input_is_named(bert, tokenizer):
    def fit(examples=PAIRS, steps=1, scores=None, **options):
        return trainer(bert, tokenizer, **options).fit(examples, steps, scores=scores)

    for wrong, error, said in [
        (lambda: fit(lambda_d=-1), ArgumentError, "lambda_d=-1"),
        (lambda: fit(lr=0), ArgumentError, "lr=0"),
        (lambda: fit(loss="mse"), ArgumentError, "loss='mse'"),
        (lambda: fit(batch_size=0), ArgumentError, "batch_size=0"),
        (lambda: fit(steps=0), ArgumentError, "steps=0"),
        (lambda: fit([]), ArgumentError, "examples is empty"),
        (lambda: fit([("a", "b"), ("a",)]), ArgumentError, "[1, 2]"),
        (lambda: fit([("a", 3)]), ArgumentError, "examples[0][1]"),
        (lambda: fit(loss="margin_mse"), ArgumentError, "needs negatives"),
        (lambda: fit(scores=np.ones((8, 2))), ShapeError, "scores have shape (8, 2)"),
        (lambda: fit(teacher=lambda q, d: np.full((8, 8), np.nan)), ArgumentError, "NaN"),
        (lambda: fit(lr=1e30, steps=4), ArgumentError, "not finite"),
    ]:
        with pytest.raises(error) as caught:
            wrong()
        assert said in str(caught.value)
    queries = IDFQueryEncoder(tokenizer, np.ones(tokenizer.get_vocab_size() + 3))
    with pytest.raises(ShapeError, match="query_encoder has"):
        SparseDistillTrainer(SparseDocEncoder(bert(), tokenizer), queries)
    without = trainer(bert, tokenizer)
    without.teacher = None
    with pytest.raises(ArgumentError, match="needs a teacher"):
        without.fit(PAIRS, 1)
