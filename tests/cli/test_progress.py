"""Progress goes to stderr: lines in a log, with the time left."""

from types import SimpleNamespace

from gossamer.cli.progress import progress_bar


def event(stage, done, total, seconds=0.0, detail=""):
    left = seconds / done * (total - done) if done else None
    return SimpleNamespace(stage=stage, done=done, total=total, seconds=seconds, detail=detail, left=left)


def test_a_log_gets_the_first_and_the_last_step_of_each_stage(capsys):
    with progress_bar() as progress:
        progress(event("compress", 0, 30))
        for done in range(1, 31):
            progress(event("compress", done, 30, seconds=2.0 * done))
        progress(event("save", 1, 1, seconds=1.0))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == ["compress 0/30", "compress 30/30 60 s", "save 1/1 1 s"]


def test_a_slow_stage_says_now_and_then_how_long_it_still_takes(capsys, monkeypatch):
    now = iter([0.0, 1.0, 6.0])
    monkeypatch.setattr("gossamer.cli.progress.time.monotonic", lambda: next(now))
    with progress_bar() as progress:
        progress(event("compress", 0, 30))
        progress(event("compress", 1, 30, seconds=1.0))
        progress(event("compress", 3, 30, seconds=6.0, detail="layer [3]"))
    assert capsys.readouterr().err.splitlines()[1:] == ["compress 3/30 54 s left  layer [3]"]


def test_progress_can_be_silent(capsys):
    with progress_bar(enabled=False) as progress:
        progress(event("compress", 0, 30))
    assert capsys.readouterr().err == ""
