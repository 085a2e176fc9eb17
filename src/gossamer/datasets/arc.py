"""ARC: multiple-choice science questions, easy and hard."""

from __future__ import annotations

from dataclasses import dataclass

from gossamer._core.checks import check_choice
from gossamer._core.errors import FormatError
from gossamer.datasets.locate import data_file, read_jsonl


@dataclass(frozen=True)
class MultipleChoice:
    """A question, the answers to choose from, and the index of the right one."""

    query: str
    choices: tuple[str, ...]
    gold: int


def load_arc(subset: str = "easy", split: str = "evaluate") -> list[MultipleChoice]:
    """Load ARC questions (CC BY-SA 4.0). The file is ARC's test part: its first half calibrates, the rest evaluates.

    Parameters
    ----------
    subset : {"easy", "challenge"}
        2,376 easy or 1,172 hard questions.
    split : {"calibrate", "evaluate", "all"}
        Which half; ``all`` is what other people's figures mean, if nothing was tuned on it.

    Returns
    -------
    list of MultipleChoice
        In the order of the file.

    Raises
    ------
    MissingDataError
        If ``GOSSAMER_DATA`` is not set or has no ``arc/arc_easy.jsonl`` and ``arc/arc_challenge.jsonl``.

    References
    ----------
    Clark et al., "Think you have Solved Question Answering? Try ARC", 2018.
    """
    check_choice("subset", subset, ("easy", "challenge"))
    check_choice("split", split, ("calibrate", "evaluate", "all"))
    path = data_file(f"arc/arc_{subset}.jsonl", "ARC")
    questions = [_question(record, str(path)) for record in read_jsonl(path, ("query", "choices", "gold"))]
    middle = len(questions) // 2
    return {"calibrate": questions[:middle], "evaluate": questions[middle:], "all": questions}[split]


def _question(record: dict, path: str) -> MultipleChoice:
    choices, gold = tuple(record["choices"]), record["gold"]
    if not isinstance(gold, int) or not 0 <= gold < len(choices):
        raise FormatError(
            f"{path}: gold={gold!r} of {record['query'][:40]!r} is none of {len(choices)} choices"
        )
    return MultipleChoice(record["query"], choices, gold)
