"""HTML pages that are written by hand: whether tags nest, and what a reader sees."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"br", "hr", "img", "input", "link", "meta"}
CLOSED_BY_THE_NEXT = {"option"}


class Outline(HTMLParser):
    """Tags, attributes and text of a page; ``open`` is empty at the end if tags nest and close.

    Parameters
    ----------
    page : str
        The HTML.

    Raises
    ------
    AssertionError
        If a tag closes another one than the last that is open.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag, and that it is open."""
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_endtag(self, tag: str) -> None:
        """Close the last tag that is open."""
        if tag in CLOSED_BY_THE_NEXT and self.open[-1] != tag:
            return
        last = self.open.pop()
        if last != tag:
            raise AssertionError(f"</{tag}> closes <{last}>")

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.words.append(data)
