"""Colours, type and size of every picture, and a figure as PNG bytes.

Figures are made without pyplot, so that nothing global is touched and nothing has to be closed.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_P = ParamSpec("_P")

INK = "#1c2024"
MUTED = "#68707a"
RULE = "#d9dde2"
ACCENT = "#0b6e99"
"""What is steered."""
PLAIN = "#4a5058"
"""What is not."""
CHANCE = "#aab2bc"
"""Random neurons."""
KNOB = "#a3561b"
"""Steering values."""
WARN = "#a4262c"

WIDTH = 8.8
"""Inches of a picture as wide as the page."""
_DPI = 190
_COLOURS = 96  # of a picture's palette; lines and text need no more, and the file is a third

_TYPE: Any = {  # the stubs want every key as a literal
    "font.size": 9.5,
    "font.family": "DejaVu Sans",  # comes with matplotlib: pictures look the same everywhere
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": RULE,
    "axes.linewidth": 0.8,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "lines.solid_capstyle": "round",
}


def styled(draw: Callable[_P, bytes]) -> Callable[_P, bytes]:
    """Decorator of a function that draws: everything in it is in this style, and nothing outside of it."""

    @wraps(draw)
    def drawn(*args: _P.args, **kwargs: _P.kwargs) -> bytes:
        import matplotlib as mpl

        with mpl.rc_context(_TYPE):
            return draw(*args, **kwargs)

    return drawn


def new_figure(height: float, *, width: float = WIDTH) -> Figure:
    """An empty figure, laid out by itself. Sizes in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def new_axes(figure: Figure, rows: int = 1, columns: int = 1, **options: Any) -> list[list[Axes]]:
    """`figure.subplots`, always as rows of columns."""
    return [list(row) for row in figure.subplots(rows, columns, squeeze=False, **options)]


def to_png(figure: Figure) -> bytes:
    """The figure as PNG bytes with a small palette."""
    from PIL import Image

    raw = io.BytesIO()
    figure.savefig(raw, format="png", dpi=_DPI)
    raw.seek(0)
    packed = io.BytesIO()
    with Image.open(raw) as picture:
        picture.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
    return packed.getvalue()


def direct_grid(axes: Axes, which: str = "y") -> None:
    """Pale lines behind the data, and no marks on that axis."""
    axes.grid(axis=which, color=RULE, linewidth=0.6)  # type: ignore[arg-type]
    axes.tick_params(axis=which, length=0)  # type: ignore[arg-type]
