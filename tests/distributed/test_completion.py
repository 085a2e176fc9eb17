"""Completion spread over a cluster is the completion on one machine."""

import numpy as np
import pytest

from gossamer._core.errors import ArgumentError
from gossamer.distributed import matrix_completion
from gossamer.solve import incoherent_low_rank
from gossamer.solve import matrix_completion as serial


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("exact", {}),
        ("cg", {}),
        ("shared", {"ridge": 0.1}),
        ("sketch", {}),
        ("auto", {"weighted_ridge": True, "ridge": 0.01}),
        ("auto", {"weighted_ridge": True, "ridge": 0.01, "biases": True}),
        ("cg", {"ridge": 0.1, "biases": True}),
    ],
)
def test_it_is_the_serial_result(client, method, options):
    s = incoherent_low_rank(90, 70, 3, p=0.5, random_state=0)
    arguments = (s.rows, s.cols, s.vals, s.shape, 3)
    options = {"method": method, "random_state": 0, "tol": 1e-12, "maxiter": 8, **options}
    ours, theirs = (
        matrix_completion(*arguments, client=client, blocks=3, **options),
        serial(*arguments, **options),
    )
    assert ours.nit == theirs.nit
    if method == "sketch":
        np.testing.assert_allclose(ours.to_dense(), theirs.to_dense(), atol=1e-3)
    else:
        assert (ours.U == theirs.U).all()
        assert (ours.V == theirs.V).all()
        if options.get("biases"):
            assert (ours.row_bias == theirs.row_bias).all()
            assert (ours.column_bias == theirs.column_bias).all()


def test_few_entries_are_warmed_up_alike(client):
    s = incoherent_low_rank(90, 70, 3, p=0.25, random_state=0)
    ours, theirs = (
        matrix_completion(s.rows, s.cols, s.vals, s.shape, 3, client=client, blocks=3, random_state=0),
        serial(s.rows, s.cols, s.vals, s.shape, 3, random_state=0),
    )
    assert (ours.U == theirs.U).all()


def test_bad_input_is_named(client):
    with pytest.raises(ArgumentError, match="rank"):
        matrix_completion([0], [0], [1.0], (1, 1), 2, client=client)
    with pytest.raises(ArgumentError, match="blocks"):
        matrix_completion([0], [0], [1.0], (1, 1), 1, client=client, blocks=0)
