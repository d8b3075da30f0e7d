"""HTML parts. A `str` is escaped, `Html` is taken as it is; pictures are embedded, and a page fetches nothing.

page.document("Title", page.section("Heading", page.paragraph("text"), page.figure(png, "What it shows.")))
"""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

GOOD, NEUTRAL, DOUBT, BAD = "good", "neutral", "doubt", "bad"
"""Tones of a badge."""


class Html(str):
    """Markup that is taken as it is; a plain `str` is text and gets escaped."""

    __slots__ = ()


def text(value: object) -> str:
    """`value` ready to stand in a page: escaped unless it is `Html` already."""
    return value if isinstance(value, Html) else html.escape(str(value), quote=True)


def join(*parts: str) -> Html:
    """Parts one after the other."""
    return Html("".join(text(part) for part in parts))


def paragraph(*parts: str, kind: str = "") -> Html:
    """A paragraph; kinds with a look of their own: "lead", "note"."""
    return Html(f"<p{_class(kind)}>{join(*parts)}</p>\n")


def section(heading: str, *parts: str, level: int = 2, lead: str = "", anchor: str = "") -> Html:
    """A heading and what belongs to it."""
    opening = f' id="{text(anchor)}"' if anchor else ""
    introduced = paragraph(lead, kind="lead") if lead else ""
    return Html(
        f"<section{opening}>\n<h{level}>{text(heading)}</h{level}>\n{text(introduced)}{join(*parts)}</section>\n"
    )


def code(value: str) -> Html:
    """A command or a name as it is typed."""
    return Html(f"<code>{text(value)}</code>")


def command(value: str) -> Html:
    """A command on a line of its own, to be copied; broken between options only."""
    first, *options = value.split(" --")
    parts = [first, *(f"--{option}" for option in options)]
    return Html("<pre>" + " ".join(f"<span>{text(part)}</span>" for part in parts) + "</pre>")


def strong(value: str) -> Html:
    """Emphasis."""
    return Html(f"<strong>{text(value)}</strong>")


def badge(label: str, tone: str) -> Html:
    """A verdict in a word or two."""
    return Html(f'<span class="badge {text(tone)}">{text(label)}</span>')


def bullets(items: Sequence[str], kind: str = "") -> Html:
    """A list; empty for no items."""
    if not items:
        return Html("")
    return Html(f"<ul{_class(kind)}>" + "".join(f"<li>{text(item)}</li>" for item in items) + "</ul>\n")


def picture(data: bytes, alt: str) -> Html:
    """A PNG or JPEG, embedded."""
    kind = "png" if data[:4] == b"\x89PNG" else "jpeg"
    encoded = base64.b64encode(data).decode("ascii")
    return Html(f'<img alt="{text(alt)}" src="data:image/{kind};base64,{encoded}">')


def figure(data: bytes, caption: str, *, alt: str = "") -> Html:
    """A picture with a caption that says how to read it."""
    return Html(f"<figure>{picture(data, alt or str(caption))}<figcaption>{text(caption)}</figcaption></figure>\n")


def film(rows: Sequence[tuple[str, bytes]], times: Sequence[str], caption: str) -> Html:
    """Strips of frames below each other, each with a line above it, and the time of every column at the end."""
    shown = "".join(f'<div class="who">{text(who)}</div>{picture(data, str(who))}' for who, data in rows)
    clock = "".join(f"<span>{text(time)}</span>" for time in times)
    return Html(
        f'<figure class="film">{shown}<div class="clock">{clock}</div>'
        f"<figcaption>{text(caption)}</figcaption></figure>\n"
    )


@dataclass(frozen=True)
class Column:
    """A column of a table: its heading, and whether it holds numbers."""

    heading: str
    number: bool = True


def table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    *,
    caption: str = "",
    kind: str = "",
    groups: Sequence[tuple[str, int]] = (),
) -> Html:
    """A table; cells that hold numbers are set flush right with figures of equal width.

    Args:
        columns, rows: headings and cells.
        caption: above it.
        kind: "small", "small prose" (the first column may wrap).
        groups: headings over several columns: text and how many columns.
    """
    head = "".join(f"<th{_class('n' * column.number)}>{text(column.heading)}</th>" for column in columns)
    over = "".join(f'<th class="over" colspan="{span}">{text(heading)}</th>' for heading, span in groups)
    body = "".join(
        "<tr>"
        + "".join(f"<td{_class('n' * c.number)}>{text(cell)}</td>" for c, cell in zip(columns, row, strict=True))
        + "</tr>\n"
        for row in rows
    )
    above = f"<caption>{text(caption)}</caption>" if caption else ""
    return Html(
        f'<div class="wide"><table{_class(kind)}>{above}<thead>{f"<tr>{over}</tr>" * bool(over)}<tr>{head}</tr></thead>'
        f"<tbody>\n{body}</tbody></table></div>\n"
    )


def pairs(items: Sequence[tuple[str, str]]) -> Html:
    """Names and what they stand for, as a quiet two-column list."""
    return Html("<dl>" + "".join(f"<dt>{text(k)}</dt><dd>{text(v)}</dd>" for k, v in items) + "</dl>\n")


@dataclass(frozen=True)
class Card:
    """A finding: what of, the verdict and its tone, the headline, and the sentences behind it."""

    subject: str
    verdict: str
    tone: str
    headline: str
    sentences: Sequence[str]


def cards(items: Sequence[Card]) -> Html:
    """Findings, one below the other."""
    shown = "".join(
        f'<li class="{text(item.tone)}"><div class="what"><strong>{text(item.subject)}</strong>'
        f'<span class="headline">{text(item.headline)}</span>{text(badge(item.verdict, item.tone))}</div>'
        f"<p>{' '.join(text(sentence) for sentence in item.sentences)}</p></li>\n"
        for item in items
    )
    return Html(f'<ul class="cards">\n{shown}</ul>\n')


def folded(summary: str, *parts: str) -> Html:
    """Parts that are out of sight until asked for; printed they are open."""
    return Html(f"<details><summary>{text(summary)}</summary>{join(*parts)}</details>\n")


def document(title: str, *parts: str, subtitle: str = "", facts: str = "") -> str:
    """A whole page as text, to be written as UTF-8."""
    css = (files("vlasteer.launch.reporting") / "report.css").read_text(encoding="utf-8")
    under = f'<p class="subtitle">{text(subtitle)}</p>' if subtitle else ""
    known = f'<p class="facts">{text(facts)}</p>' if facts else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>\n{css}</style>\n</head>\n<body>\n<main>\n"
        f"<header><h1>{text(title)}</h1>{under}{known}</header>\n{join(*parts)}</main>\n</body>\n</html>\n"
    )


def _class(name: str) -> str:
    return f' class="{text(name)}"' if name else ""
