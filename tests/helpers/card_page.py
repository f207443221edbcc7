"""A report card as tests read it."""

from html.parser import HTMLParser
from typing import Any


class Page(HTMLParser):
    """The exact numbers, the words and the tags of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.numbers: set[float] = set()
        self.words: list[str] = []
        self.open: list[str] = []
        self.starts: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.starts.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)
        if tag == "data":
            self.numbers.add(float(dict(attrs)["value"]))

    def handle_startendtag(self, tag, attrs):
        self.starts.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data.strip())


def numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [n for one in value.values() for n in numbers(one)]
    if isinstance(value, list):
        return [n for one in value for n in numbers(one)]
    return [value] if isinstance(value, (int, float)) and not isinstance(value, bool) else []
