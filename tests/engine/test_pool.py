"""Many small phases, more threads than cores, several pools at once: nobody waits for ever, nobody computes twice."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tests.engine.tiny_models import LLAMA, random_artifact

from gossamer.engine.decoder import Decoder


@pytest.mark.timeout(120)
def test_crowded_pools_finish_with_the_same_bits():
    artifact = random_artifact("llama", LLAMA)
    ids = np.random.default_rng(0).integers(0, LLAMA["vocab_size"], 100).tolist()

    def decoded(threads):
        session = Decoder.from_artifact(artifact, threads=threads).new_session()
        session.prefill(ids[:1])
        return np.stack([session.decode(token) for token in ids])

    alone = decoded(1)
    with ThreadPoolExecutor(4) as callers:
        crowded = list(callers.map(decoded, [2, 3, 5, 7] * 25))
    for found in crowded:
        np.testing.assert_array_equal(found, alone)
