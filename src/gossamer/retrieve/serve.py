"""A page to search a collection with, and the same as JSON."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from html import escape
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

from gossamer._core.errors import GossamerError
from gossamer._core.lazy import require

_MOST, _LONGEST = 100, 2000
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def search_app(load: Callable[[], Any], *, title: str = "Search") -> Any:
    """Make an ASGI application that searches a collection.

    ``/`` is the page; ``/search?q=...&k=10&method=...`` gives the same as JSON. When another process has saved a later
    state of the collection, the next search loads it.

    Parameters
    ----------
    load : callable
        Opens the collection: a :class:`Collection`, or what has its ``methods``, ``search``, ``explain``, ``outdated``
        and length.
    title : str
        Over the page.

    Returns
    -------
    starlette.applications.Starlette
        For uvicorn or another server. Searches run one after the other: encoders use all cores.

    Raises
    ------
    MissingDependencyError
        If Starlette is not installed.
    """
    require("starlette", "serve")
    from starlette.applications import Starlette
    from starlette.responses import HTMLResponse, JSONResponse
    from starlette.routing import Route

    desk = _Desk(load)

    def page(request: Any) -> Any:
        asked = dict(request.query_params)
        answer, status = desk.answer(asked) if asked.get("q", "").strip() else (desk.blank(asked), 200)
        return HTMLResponse(search_page(answer, title), status, _HEADERS)

    def data(request: Any) -> Any:
        answer, status = desk.answer(dict(request.query_params))
        return JSONResponse(answer, status, _HEADERS)

    return Starlette(routes=[Route("/", page), Route("/search", data)])


class _Desk:
    """Takes questions one after the other."""

    def __init__(self, load: Callable[[], Any]) -> None:
        self.load, self.lock = load, threading.Lock()
        self.collection = load()

    def blank(self, asked: dict[str, str]) -> dict[str, Any]:
        collection = self.collection
        method = asked.get("method", collection.methods[-1])
        return {
            "query": "",
            "k": 10,
            "method": method,
            "methods": collection.methods,
            "documents": len(collection),
        }

    def answer(self, asked: dict[str, str]) -> tuple[dict[str, Any], int]:
        with self.lock:
            if self.collection.outdated:
                self.collection = self.load()
            told = self.blank(asked)
            try:
                told |= {"query": asked.get("q", "")[:_LONGEST], "k": _count(asked.get("k", "10"))}
                began = time.perf_counter()
                hits = self.collection.search([told["query"]], told["k"], told["method"])[0]
                told["seconds"] = time.perf_counter() - began
                told["hits"] = [
                    {
                        "key": hit.key,
                        "score": hit.score,
                        "text": hit.text,
                        "matches": [
                            match._asdict()
                            for match in self.collection.explain(told["query"], hit.key, told["method"])
                        ],
                    }
                    for hit in hits
                ]
            except (GossamerError, ValueError) as error:
                return {**told, "error": str(error)}, 400
        return told, 200


def _count(text: str) -> int:
    try:
        return min(max(int(text), 1), _MOST)
    except ValueError:
        raise ValueError(f"k={text!r}: expected a number") from None


def search_page(answer: dict[str, Any], title: str) -> str:
    """The page of an answer: a form, and what was found. All text is escaped; nothing is loaded and no script runs.

    Parameters
    ----------
    answer : dict
        As ``/search`` gives it.
    title : str
        Over the page.

    Returns
    -------
    str
        HTML.
    """
    css = files(__package__).joinpath("search_page.css").read_text("utf-8")
    options = "".join(
        f"<option{' selected' if name == answer['method'] else ''}>{escape(name)}</option>"
        for name in answer["methods"]
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(answer["query"] or title)}</title><style>{css}</style></head><body>
<header><h1><a href="/">{escape(title)}</a></h1>
<form action="/" method="get" role="search">
<input type="search" name="q" value="{escape(answer["query"])}" placeholder="What are you looking for?"
 aria-label="Query" maxlength="{_LONGEST}" autofocus>
<select name="method" aria-label="Method">{options}</select><button>Search</button></form>
{_status(answer)}</header>
<main>{"".join(_hit(rank, hit) for rank, hit in enumerate(answer.get("hits", []), 1))}</main>
</body></html>
"""


def _status(answer: dict[str, Any]) -> str:
    if "error" in answer:
        return f'<p class="error" role="alert">{escape(answer["error"])}</p>'
    if "hits" not in answer:
        return f'<p class="status">{answer["documents"]:,} passages</p>'
    found, more = len(answer["hits"]), ""
    if found == answer["k"] < _MOST:
        query = {"q": answer["query"], "method": answer["method"], "k": min(2 * answer["k"], _MOST)}
        more = f' · <a href="/?{escape(urlencode(query))}">show more</a>'
    said = f"{found} of {answer['documents']:,} passages in {answer['seconds'] * 1e3:.3g} ms"
    return f'<p class="status">{said}{more}</p>'


def _hit(rank: int, hit: dict[str, Any]) -> str:
    largest = max([match["score"] for match in hit["matches"]] + [1e-9])
    chips = "".join(
        f'<li style="--share:{max(match["score"] / largest, 0):.2f}"><b>{escape(match["query"])}</b>'
        + (f" → {escape(match['text'])}" if match["text"] != match["query"] else "")
        + f" <i>{match['score']:.3g}</i></li>"
        for match in hit["matches"]
    )
    return (
        f'<article><h2><span class="rank">{rank}</span>{escape(hit["key"])}'
        f'<span class="score">{hit["score"]:.4g}</span>'
        f"</h2><p>{escape(hit['text'])}</p>{f'<ul>{chips}</ul>' if chips else ''}</article>"
    )
