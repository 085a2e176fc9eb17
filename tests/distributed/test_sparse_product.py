"""A product on a cluster of two processes is the local one."""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.linalg import spgemm as local


def matrices():
    rng = np.random.default_rng(0)
    A, B = (sp.random_array(s, density=0.05, rng=rng, format="csr") for s in ((300, 200), (200, 250)))
    return A, B, sp.random_array((300, 250), density=0.2, rng=rng, format="csr")


@pytest.mark.parametrize("layout", ["auto", "replicated", "rows"])
@pytest.mark.parametrize("semiring", ["plus_times", "min_plus", "max_times", "or_and", "plus_pair"])
def test_blocks_make_up_the_local_product(client, layout, semiring):
    from gossamer.distributed import spgemm

    A, B, M = matrices()
    for mask, complement in ((None, False), (M, False), (M, True)):
        C = spgemm(
            A, B, client=client, layout=layout, semiring=semiring, mask=mask, complement=complement, blocks=3
        )
        expected = local(A, B, semiring=semiring, mask=mask, complement=complement)
        np.testing.assert_array_equal(C.indptr, expected.indptr)
        np.testing.assert_array_equal(C.indices, expected.indices)
        np.testing.assert_allclose(C.data, expected.data, rtol=1e-12)
        assert C.dtype == expected.dtype


def test_blocks_are_balanced_by_work_and_may_stay_on_the_cluster(client):
    from gossamer.distributed import spgemm

    A, B, _ = matrices()
    futures = spgemm(A, B, client=client, blocks=4, gather=False)
    assert len(futures) == 4
    slabs = client.gather(futures)
    starts = np.r_[0, np.cumsum([s.shape[0] for s in slabs])]
    fma = np.add.reduceat(np.diff(B.indptr)[A.indices], A.indptr[:-1][np.diff(A.indptr) > 0]).sum()
    for start, stop in itertools.pairwise(starts):
        work = np.diff(B.indptr)[A.indices[A.indptr[start] : A.indptr[stop]]].sum()
        assert abs(work - fma / 4) < 0.1 * fma
    np.testing.assert_allclose(sp.vstack(slabs).toarray(), (A @ B).toarray(), atol=1e-12)


def test_bad_input_is_refused_before_anything_travels(client):
    from gossamer.distributed import spgemm

    A, B, _ = matrices()
    with pytest.raises(ShapeError, match="rows of B"):
        spgemm(A, A, client=client)
    with pytest.raises(ArgumentError, match="layout"):
        spgemm(A, B, client=client, layout="columns")
