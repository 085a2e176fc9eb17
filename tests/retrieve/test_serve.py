"""The page of a collection: what it shows, what it escapes and refuses, and that a browser shows it."""

import shutil
import subprocess
import threading
import time
from typing import NamedTuple

import pytest

from gossamer._core.errors import ArgumentError
from gossamer.retrieve.matches import Match

pytest.importorskip("starlette")
testclient = pytest.importorskip("starlette.testclient", exc_type=(ImportError, RuntimeError))

from gossamer.retrieve import search_app  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = '<script>document.title = "taken"</script>"&'


class Hit(NamedTuple):
    key: str
    score: float
    text: str


class Shelf:
    """A collection of three texts, found by the words that they share with a query."""

    methods = ("words", "fusion")
    outdated = False

    def __init__(self):
        self.texts = {
            "a.txt": "a spider spins its web",
            "b.txt": "wind on the web",
            "c.txt": f"spider {HOSTILE}",
        }

    def __len__(self):
        return len(self.texts)

    def explain(self, query, key, method):
        shared = [word for word in query.split() if word in self.texts[key].split()]
        return [Match(word, word if method == "words" else word.upper(), 1.5) for word in shared]

    def search(self, queries, k, method):
        if method not in self.methods:
            raise ArgumentError(f"method={method!r}: expected one of {self.methods}")
        scored = [(1.5 * len(self.explain(queries[0], key, method)), key) for key in self.texts]
        best = sorted((pair for pair in scored if pair[0]), key=lambda pair: -pair[0])
        return [[Hit(key, score, self.texts[key]) for score, key in best[:k]]]


@pytest.fixture
def client():
    return testclient.TestClient(search_app(Shelf, title="Shelf & co"))


def test_json_has_hits_with_what_matched(client):
    told = client.get("/search", params={"q": "spider web", "method": "words", "k": 2}).json()
    assert [hit["key"] for hit in told["hits"]] == ["a.txt", "b.txt"]
    assert told["hits"][0]["score"] == 3.0
    assert told["hits"][0]["matches"] == [
        {"query": "spider", "text": "spider", "score": 1.5},
        {"query": "web", "text": "web", "score": 1.5},
    ]
    assert told["documents"] == 3
    assert told["seconds"] >= 0


def test_the_page_shows_hits_terms_pairs_and_time(client):
    page = client.get("/", params={"q": "spider web", "method": "words"}).text
    assert page.count("<article>") == 3
    assert page.index("a.txt") < page.index("b.txt")
    assert "3 of 3 passages in" in page
    assert "<b>spider</b> <i>1.5</i>" in page
    assert (
        "<b>spider</b> → SPIDER <i>1.5</i>" in client.get("/", params={"q": "spider"}).text
    )  # fusion, the default
    assert "<option selected>words</option>" in page


def test_an_empty_page_asks(client):
    for page in (client.get("/"), client.get("/", params={"q": "  "})):
        assert page.status_code == 200
        assert "3 passages" in page.text
        assert "<article>" not in page.text


def test_text_is_escaped_and_nothing_runs(client):
    page = client.get("/", params={"q": f"spider {HOSTILE}"})
    assert "<script" not in page.text
    assert "Shelf &amp; co" in page.text
    assert "script-src" not in page.headers["content-security-policy"]
    assert page.headers["content-security-policy"].startswith("default-src 'none'")


def test_more_is_offered_while_there_may_be_more(client):
    page = client.get("/", params={"q": "web", "k": 2}).text
    assert 'href="/?q=web&amp;method=fusion&amp;k=4"' in page
    assert "show more" not in client.get("/", params={"q": "web", "k": 3}).text


def test_bad_questions_are_refused_with_the_reason(client):
    for params, said in [
        ({"q": "web", "method": "guess"}, "method='guess'"),
        ({"q": "web", "k": "many"}, "k='many'"),
        ({"q": "web", "method": HOSTILE}, "method="),
    ]:
        answer, page = client.get("/search", params=params), client.get("/", params=params)
        assert answer.status_code == page.status_code == 400
        assert said in answer.json()["error"]
        assert 'role="alert"' in page.text
        assert "<script" not in page.text


def test_a_later_state_is_loaded_at_the_next_search():
    shelves = []

    def load():
        shelves.append(Shelf())
        return shelves[-1]

    client = testclient.TestClient(search_app(load))
    client.get("/", params={"q": "web"})
    assert len(shelves) == 1
    shelves[0].outdated = True
    client.get("/", params={"q": "web"})
    client.get("/", params={"q": "web"})
    assert len(shelves) == 2


@pytest.mark.skipif(CHROMIUM is None, reason="headless Chromium is not installed")
def test_chromium_shows_the_page_as_served(tmp_path):
    uvicorn = pytest.importorskip("uvicorn")
    server = uvicorn.Server(uvicorn.Config(search_app(Shelf), host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.05)
        port = server.servers[0].sockets[0].getsockname()[1]
        flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
        ]
        done = subprocess.run(
            [CHROMIUM, *flags, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
             f"http://127.0.0.1:{port}/?q=spider+web&method=words"],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
    finally:
        server.should_exit = True
        thread.join(10)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("<article>") == 3
    assert "<title>spider web</title>" in done.stdout
