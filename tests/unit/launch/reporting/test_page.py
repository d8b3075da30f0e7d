"""HTML parts: what is text is escaped, what is markup is not, and everything is closed."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from vlasteer.launch.reporting import page
from vlasteer.launch.reporting.page import Card, Column, Html
from vlasteer.launch.reporting.wording import interval, number, signed

VOID = {"meta", "img", "br", "link"}


class Balance(HTMLParser):
    """Fails where an element is closed that is not open; collects text and links."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href") and value]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.seen.append(data)


def parsed(text: str) -> Balance:
    reader = Balance()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


@given(st.text(min_size=1, alphabet=st.characters(codec="utf-8", exclude_categories=["C", "Z"])))
def test_any_text_stays_text(value):
    parts = (
        page.paragraph(value),
        page.section(value, page.strong(value), page.code(value), lead=value),
        page.table([Column(value)], [[value]], caption=value),
        page.cards([Card(value, value, page.GOOD, value, [value])]),
        page.figure(b"\x89PNG", value),
        page.film([(value, b"\xff\xd8")], [value], value),
        page.bullets([value]),
        page.pairs([(value, value)]),
        page.folded(value, value),
        page.command(value),
    )
    read = parsed(page.document(value, *parts, subtitle=value, facts=value))
    assert "".join(read.seen).count(value) >= 20
    assert all(link.startswith("data:image/") for link in read.links)


def test_markup_stays_markup():
    assert page.paragraph(Html("<b>x</b>"), " & y") == "<p><b>x</b> &amp; y</p>\n"
    assert page.bullets([]) == ""


def test_commands_break_between_options_only():
    assert (
        page.command("prog run --a 1 --b=2") == "<pre><span>prog run</span> <span>--a 1</span> <span>--b=2</span></pre>"
    )


def test_numbers_as_people_read_them():
    assert number(-1.25) == "−1.2"
    assert number(-0.01) == "0.0"
    assert number(2, 0, sign=True) == "+2"
    assert number(float("nan")) == "–"
    assert interval(-1, 2) == "−1.0 to +2.0"
    assert interval(float("nan"), float("nan")) == "–"
    assert signed("from -1.0 to (-2) in re-do, 5 % of 3 mm") == "from −1.0 to (−2) in re-do, 5\u00a0% of 3\u00a0mm"
