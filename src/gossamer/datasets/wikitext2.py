"""WikiText-2, the usual perplexity set, in its tokenised variant (``<unk>``, ``@-@``)."""

from __future__ import annotations

from gossamer._core.checks import check_choice
from gossamer.datasets.locate import data_file, read_text


def load_wikitext2(split: str = "test") -> str:
    """Load WikiText-2: ``valid`` to calibrate on, ``test`` to evaluate on, never the other way round.

    This is the tokenised variant: perplexities are not comparable with those of papers that use the raw one.

    Parameters
    ----------
    split : {"valid", "test"}
        Which half.

    Returns
    -------
    str
        About 1.1 (valid) or 1.3 (test) million characters, CC BY-SA 3.0.

    Raises
    ------
    MissingDataError
        If ``GOSSAMER_DATA`` is not set or has no ``wikitext-2/valid.txt`` and ``wikitext-2/test.txt``.

    References
    ----------
    Merity et al., "Pointer Sentinel Mixture Models", ICLR 2017.
    """
    check_choice("split", split, ("valid", "test"))
    return read_text(data_file(f"wikitext-2/{split}.txt", "WikiText-2"))
