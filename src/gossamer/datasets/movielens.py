"""MovieLens-100k: 100,000 ratings of 943 users on 1,682 films, as the package ``recbole`` brings them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from gossamer._core.errors import FormatError
from gossamer.datasets.locate import package_directory, read_text

HEADER = "user_id:token\titem_id:token\trating:float\ttimestamp:float"


@dataclass(frozen=True)
class Ratings:
    """Who rated what, and how.

    Attributes
    ----------
    users, items : ndarray of int64, shape (n,)
        Ids as in the file.
    ratings : ndarray of float64, shape (n,)
        1 to 5.
    timestamps : ndarray of int64, shape (n,)
        Seconds since 1970.
    """

    users: np.ndarray = field(repr=False)
    items: np.ndarray = field(repr=False)
    ratings: np.ndarray = field(repr=False)
    timestamps: np.ndarray = field(repr=False)

    @property
    def pairs(self) -> np.ndarray:
        """Users and items as columns, shape (n, 2)."""
        return np.column_stack([self.users, self.items])


def load_movielens_100k() -> Ratings:
    """Load the ratings from the package ``recbole`` (``pip install --no-deps recbole``), which need not be importable.

    Returns
    -------
    Ratings

    Raises
    ------
    MissingDataError
        If the package is not installed.
    FormatError
        If the file is not what its header says.

    References
    ----------
    Harper and Konstan, "The MovieLens datasets: history and context", 2015.
    """
    path = package_directory("recbole", "MovieLens-100k") / "dataset_example" / "ml-100k" / "ml-100k.inter"
    if not path.is_file():
        raise FormatError(f"{path}: not there; reinstall the package recbole")
    first, _, rest = read_text(path).partition("\n")
    if first.strip() != HEADER:
        raise FormatError(f"{path}: the header is {first!r}: expected {HEADER!r}")
    try:
        table = np.array(rest.split(), np.float64).reshape(-1, 4)
    except ValueError as error:
        raise FormatError(f"{path}: expected four numbers a line ({error})") from None
    users, items, ratings, times = table.T
    return Ratings(users.astype(np.int64), items.astype(np.int64), ratings.copy(), times.astype(np.int64))
