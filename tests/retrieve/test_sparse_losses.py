"""Losses and teachers against closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.special import rel_entr, softmax

from gossamer._core.errors import ArgumentError, ShapeError

torch = pytest.importorskip("torch")

from gossamer.retrieve import (  # noqa: E402
    HeterogeneousTeacher,
    SiameseTeacher,
    flops_loss,
    idf_flops_loss,
    info_nce_loss,
    kl_loss,
    margin_mse_loss,
    quadratic_ramp,
)


def weights(n=6, vocabulary=40, seed=0, **options):
    rng = np.random.default_rng(seed)
    w = rng.gamma(2.0, 0.5, (n, vocabulary)) * (rng.random((n, vocabulary)) < 0.4)
    return torch.tensor(w, **options)


def test_flops_by_hand_of_disjoint_and_of_equal_supports():
    disjoint = torch.tensor([[2.0, 0.0, 1.0, 0.0], [0.0, 3.0, 0.0, 1.0]])
    equal = torch.tensor([[2.0, 3.0], [2.0, 3.0]])
    assert flops_loss(disjoint).item() == (1 + 2.25 + 0.25 + 0.25)
    assert flops_loss(equal).item() == 13
    assert flops_loss(-equal).item() == 13


def test_slots_are_punished_apart():
    w = weights(6)
    by_hand = flops_loss(w[0::2]) + flops_loss(w[1::2])
    torch.testing.assert_close(flops_loss(w, slots=2), by_hand)
    torch.testing.assert_close(flops_loss(w, slots=6), (w**2).sum())


def test_documents_below_the_threshold_do_not_count():
    w = torch.tensor([[1.0, 1.0, 1.0], [9.0, 0.0, 0.0], [3.0, 0.0, 1.0]])
    torch.testing.assert_close(flops_loss(w, threshold=2), flops_loss(w[[0, 2]]))
    assert flops_loss(w, threshold=4).item() == 0


@pytest.mark.parametrize("slots", [1, 2, 3])
@pytest.mark.parametrize("threshold", [None, 10])
def test_idf_flops_of_contributions_is_flops_of_weights(slots, threshold):
    w = weights(6, dtype=torch.float64)
    idf = torch.tensor(np.random.default_rng(1).uniform(0.01, 15.6, 40))
    torch.testing.assert_close(
        idf_flops_loss(idf * w, idf, slots=slots, threshold=threshold),
        flops_loss(w, slots=slots, threshold=threshold),
    )


def test_the_gradient_of_idf_flops_is_right_and_scales_by_rarity():
    u = (weights(4, 7, dtype=torch.float64) + 0.1).requires_grad_()
    idf = torch.tensor([0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: idf_flops_loss(x, idf, slots=2), u)
    flat = torch.ones(4, 7, dtype=torch.float64, requires_grad=True)
    idf_flops_loss(flat, idf).backward()
    torch.testing.assert_close(flat.grad, (2 / 4 / idf**2).expand(4, 7))  # the mean of |u| is 1


def test_special_tokens_of_weight_0_neither_count_nor_break_the_gradient():
    u = torch.tensor([[0.0, 2.0]], requires_grad=True)
    loss = idf_flops_loss(u, torch.tensor([0.0, 2.0]))
    loss.backward()
    assert loss.item() == 1
    assert u.grad.tolist() == [[0.0, 1.0]]


def test_ranking_losses_equal_their_formulas():
    rng = np.random.default_rng(2)
    s, t = rng.normal(size=(5, 5)) * 3, rng.normal(size=(5, 5)) * 3
    S, T = torch.tensor(s), torch.tensor(t)
    for temperature in (1.0, 2.5):
        kl = rel_entr(softmax(t / temperature, 1), softmax(s / temperature, 1)).sum(1).mean()
        np.testing.assert_allclose(kl_loss(S, T, temperature).item(), kl)
        nce = -np.log(np.diag(softmax(s / temperature, 1))).mean()
        np.testing.assert_allclose(info_nce_loss(S, temperature=temperature).item(), nce)
    assert abs(kl_loss(S, S + 3).item()) < 1e-12
    positive = torch.tensor([0, 0, 1, 4, 2])
    nce = -np.log(softmax(s, 1)[np.arange(5), positive]).mean()
    np.testing.assert_allclose(info_nce_loss(S, positive).item(), nce)
    margins = ((s[:, :1] - s[:, 1:]) - (t[:, :1] - t[:, 1:])) ** 2
    np.testing.assert_allclose(margin_mse_loss(S, T).item(), margins.mean())


def test_the_ramp_is_quadratic():
    assert quadratic_ramp(0, 100) == 1e-4
    assert quadratic_ramp(49, 100) == 0.25
    assert quadratic_ramp(99, 100) == quadratic_ramp(1000, 100) == quadratic_ramp(0, 0) == 1


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    scale=st.floats(0.01, 1000),
    shift=st.floats(-100, 100),
    which=st.integers(0, 2),
)
def test_the_ensemble_does_not_see_scale_and_shift_of_a_teacher(seed, scale, shift, which):
    rng = np.random.default_rng(seed)
    scores = [rng.normal(size=(3, 6)) for _ in range(3)]
    teacher = HeterogeneousTeacher([lambda q, d: 0] * 3, eps=1e-12)
    one = teacher.combine(scores)
    scores[which] = scale * scores[which] + shift
    np.testing.assert_allclose(teacher.combine(scores), one, atol=1e-3)


def test_the_ensemble_by_hand():
    dense = np.array([[0.8, 0.9, 0.85], [0.5, 0.5, 0.5]])
    rare = torch.tensor([[10.0, 0.0, 40.0], [1.0, 2.0, 3.0]], requires_grad=True)
    teacher = HeterogeneousTeacher([lambda q, d: dense, lambda q, d: rare], scale=30)
    got = teacher(["a", "b"], ["x", "y", "z"])
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, [[3.75, 15, 22.5], [0, 7.5, 15]], rtol=1e-4)  # all-equal scores become 0
    plain = HeterogeneousTeacher([lambda q, d: dense] * 2, scale=2.0, normalize="none")
    np.testing.assert_allclose(plain(["a", "b"], ["x", "y", "z"]), 2 * dense, rtol=1e-6)


def test_one_teacher_through_kl_is_the_formula():
    rng = np.random.default_rng(3)
    taught, student = rng.normal(size=(4, 9)), rng.normal(size=(4, 9))
    target = HeterogeneousTeacher([lambda q, d: taught], scale=30.0)([""] * 4, [""] * 9)
    low, high = taught.min(1, keepdims=True), taught.max(1, keepdims=True)
    p = softmax(30 * (taught - low) / (high - low + 1e-6), 1)
    got = kl_loss(torch.tensor(student), torch.tensor(target, dtype=torch.float64)).item()
    np.testing.assert_allclose(got, rel_entr(p, softmax(student, 1)).sum(1).mean(), rtol=1e-5)


def test_a_siamese_teacher_takes_inner_products_and_encodes_a_text_once():
    seen = []

    def encode(texts):
        seen.extend(texts)
        return np.array([[len(text), 1.0] for text in texts])

    teacher = SiameseTeacher(encode)
    assert teacher(["ab", "c"], ["abc", "ab"]).tolist() == [[7, 5], [4, 3]]
    assert teacher(["ab"], ["c"]).tolist() == [[3]]
    assert sorted(seen) == ["ab", "abc", "c"]
    cosine = SiameseTeacher(lambda texts: sparse.csr_matrix(encode(texts)), normalize=True, keep=False)
    np.testing.assert_allclose(cosine(["ab"], ["ab", "c"]), [[1, 3 / np.sqrt(10)]])
    as_tensor = SiameseTeacher(lambda texts: torch.tensor(encode(texts), requires_grad=True), normalize=True)
    np.testing.assert_allclose(as_tensor(["ab"], ["ab", "c"]), [[1, 3 / np.sqrt(10)]])


def test_bad_input_is_named():
    w = weights(6)
    for wrong, error, said in [
        (lambda: flops_loss(w, slots=4), ShapeError, "multiple of 4"),
        (lambda: flops_loss(w, slots=0), ArgumentError, "slots=0"),
        (lambda: flops_loss(w, threshold=-1), ArgumentError, "threshold=-1"),
        (lambda: flops_loss(w[0]), ShapeError, "w has shape"),
        (lambda: flops_loss(w[:0]), ShapeError, "w has shape"),
        (lambda: idf_flops_loss(w, torch.ones(3)), ShapeError, "idf has shape (3,)"),
        (lambda: kl_loss(w, w[:2]), ShapeError, "the teacher's"),
        (lambda: kl_loss(w, w * torch.nan), ArgumentError, "NaN"),
        (lambda: kl_loss(w, w, 0.0), ArgumentError, "temperature=0"),
        (lambda: info_nce_loss(w.T), ShapeError, "a document a query"),
        (lambda: margin_mse_loss(w[:, :1], w[:, :1]), ShapeError, "two documents"),
        (lambda: quadratic_ramp(-1, 3), ArgumentError, "step=-1"),
        (lambda: HeterogeneousTeacher([]), ArgumentError, "teachers"),
        (lambda: HeterogeneousTeacher([min], scale=0), ArgumentError, "scale=0"),
        (lambda: HeterogeneousTeacher([min], normalize="max"), ArgumentError, "normalize"),
        (lambda: HeterogeneousTeacher([lambda q, d: w])(["a"], ["b"]), ShapeError, "(1, 1)"),
        (lambda: HeterogeneousTeacher([lambda q, d: [[np.nan]]])(["a"], ["b"]), ArgumentError, "teacher 0"),
        (lambda: HeterogeneousTeacher([min, min]).combine([w]), ShapeError, "expected 2"),
        (lambda: SiameseTeacher(lambda t: np.ones((3, 2)))(["a"], ["b"]), ShapeError, "one row a text"),
    ]:
        with pytest.raises(error) as caught:
            wrong()
        assert said in str(caught.value)
