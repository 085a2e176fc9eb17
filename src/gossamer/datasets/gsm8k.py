"""GSM8K: grade-school word problems with worked answers."""

from __future__ import annotations

from dataclasses import dataclass

from gossamer._core.checks import check_choice
from gossamer._core.errors import FormatError
from gossamer.datasets.locate import data_file, read_jsonl


@dataclass(frozen=True)
class WordProblem:
    """A question, the reasoning that answers it, and the number at the end."""

    question: str
    rationale: str
    result: int


def load_gsm8k(split: str = "test") -> list[WordProblem]:
    """Load GSM8K: 7,473 problems to train on, 1,319 to test with (MIT licence).

    Parameters
    ----------
    split : {"train", "test"}
        Which part.

    Returns
    -------
    list of WordProblem
        In the order of the file.

    Raises
    ------
    MissingDataError
        If ``GOSSAMER_DATA`` is not set or has no ``gsm8k/train.jsonl`` and ``gsm8k/test.jsonl``.

    References
    ----------
    Cobbe et al., "Training Verifiers to Solve Math Word Problems", 2021.
    """
    check_choice("split", split, ("train", "test"))
    path = data_file(f"gsm8k/{split}.jsonl", "GSM8K")
    return [_problem(record, str(path)) for record in read_jsonl(path, ("question", "answer"))]


def _problem(record: dict[str, str], path: str) -> WordProblem:
    rationale, mark, result = record["answer"].rpartition("####")
    try:
        number = int(result.replace(",", ""))
    except ValueError:
        number, mark = 0, ""
    if not mark:
        raise FormatError(f"{path}: the answer to {record['question'][:40]!r} does not end in '#### number'")
    return WordProblem(record["question"].strip(), rationale.strip(), number)
