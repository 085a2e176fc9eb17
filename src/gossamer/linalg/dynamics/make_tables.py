"""Make the table of perturbations of HiPPO-LegS: ``python -m gossamer.linalg.dynamics.make_tables [FILE]``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from gossamer._core.files import write_bytes
from gossamer.linalg.dynamics.hippo import hippo
from gossamer.linalg.dynamics.ptd import HIPPO_MARGIN, TABLE_RELS, TABLE_SIZES, TABLES, ptd, table_name

OPTIONS: dict[tuple[int, float], dict[str, Any]] = {(256, 0.1): {"seed": 1}, (256, 0.01): {"rate": 0.08}}
"""Where the usual start leaves an eigenvalue close to the axis and a far larger gap; where its steps are too short."""


def make_tables(path: Path) -> None:
    """Compute every entry and write the file; five minutes, most of them for n = 256."""
    entries = {}
    for n in TABLE_SIZES:
        for rel in TABLE_RELS:
            result = ptd(hippo(n)[0], rel, stable=HIPPO_MARGIN, **OPTIONS.get((n, rel), {}))
            # float32 moves the matrix by far less than rel; eigenvalues are computed anew from what is stored
            entries[table_name(n, rel)] = result.E.astype(np.float32)
            print(n, rel, result)
    write_bytes(path, save(entries))


if __name__ == "__main__":
    make_tables(Path(sys.argv[1] if len(sys.argv) > 1 else str(TABLES)))
