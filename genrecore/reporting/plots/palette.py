"""One colour for a genre and one for a run, everywhere.

The two lists were searched in OKLab for the largest distance between any two colours as seen with
normal sight, protanopia, deuteranopia and tritanopia (matrices of Machado, Oliveira & Fernandes
2009), among colours that stand out from a white and from a near-black ground. Twelve colours cannot
be told apart by colour alone by everybody, so labels, markers or patterns always say the
same thing once more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

RUST, CYAN, FOREST, PINK, LAVENDER, GREEN = (
    "#c2410c", "#00b4cc", "#2e7d32", "#f090c0", "#9c78f0", "#00a86c",
)  # fmt: skip
PLUM, CORAL, LIME, MAUVE, BLUE, BROWN = (
    "#75608f", "#ec7350", "#b4b43c", "#c078a8", "#606ccc", "#9c6054",
)  # fmt: skip
GENRE_COLOURS = (
    BLUE, CORAL, GREEN, PINK, CYAN, RUST, LAVENDER, LIME, BROWN, PLUM, FOREST, MAUVE,
)  # fmt: skip

_KNOWN = {
    # GTZAN
    "blues": BLUE,
    "classical": PINK,
    "country": BROWN,
    "disco": LAVENDER,
    "hiphop": CORAL,
    "jazz": CYAN,
    "metal": PLUM,
    "pop": LIME,
    "reggae": GREEN,
    "rock": RUST,
    # FMA-small, besides hiphop, pop and rock
    "electronic": CYAN,
    "experimental": PLUM,
    "folk": BROWN,
    "instrumental": PINK,
    "international": GREEN,
    # the demo music
    "ambient": CYAN,
    "bossa": GREEN,
    "chiptune": LAVENDER,
    "dub": BLUE,
    "gamelan": BROWN,
    "march": RUST,
    "techno": LIME,
    "waltz": PINK,
}

INK = {"light": "#454a5c", "dark": "#d3d7e5"}
"""Colour of a chart's text in each theme; Streamlit's own is too faint on white."""
SHADES = {
    "light": ("#f6f7fd", "#e3e6f8", "#cdd2f1", "#b3bbe9", "#979fdd", "#7b83d0", "#6168c1",
              "#4a4fb5", "#383b97", "#282a73"),
    "dark": ("#171a26", "#20243a", "#2b3054", "#373d70", "#454c8e", "#555dac", "#686fc8",
             "#7f86e0", "#a3a9f2", "#cfd3ff"),
}  # fmt: skip
"""From nothing to all, in each theme; also `chartSequentialColors` of the dashboard's theme."""
OPPOSITES = {
    "light": ("#e2815f", "#f0f1f6", "#7fabe8"),
    "dark": ("#b4532f", "#222634", "#4877bd"),
}
"""From less over equal to more. Orange and blue differ for everybody."""

RUN_COLOURS = (
    "#7a6cc0", "#e39400", "#00a891", "#d85430", "#b06cc0", "#3d8b5f", "#4f8fe0", "#9c6054",
)  # fmt: skip
MARKERS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "hexagon", "bowtie")
PATTERNS = ("", "/", "x", ".", "\\", "-", "+", "|")


def scale(shades: Sequence[str]) -> list[list[object]]:
    """Plotly's colour scale over evenly spaced shades."""
    return [[k / (len(shades) - 1), shade] for k, shade in enumerate(shades)]


def on_shade(share: float, shades: Sequence[str]) -> str:
    """Black or white, whichever is easier to read on the shade at a share, 0 … 1, of the scale."""
    place = min(max(share, 0.0), 1.0) * (len(shades) - 1)
    k = min(int(place), len(shades) - 2)
    low, high = rgb(shades[k]), rgb(shades[k + 1])
    shade = [a + (place - k) * (b - a) for a, b in zip(low, high, strict=True)]
    return max("#000000", "#ffffff", key=lambda text: contrast(rgb(text), shade))


def contrast(a: Iterable[float], b: Iterable[float]) -> float:
    """The contrast of two colours (r, g, b: 0 … 255), 1 … 21, as WCAG 2 defines it."""
    darker, lighter = sorted((_luminance(a), _luminance(b)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: Iterable[float]) -> float:
    parts = (value / 255 for value in colour)
    linear = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts)
    return sum(weight * v for weight, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue, 0 … 255, of `#rrggbb`."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def genre_colours(genres: Iterable[str]) -> dict[str, str]:
    """A colour for every genre, the same for a name on every page.

    The genres of GTZAN, FMA-small and the demo have fixed colours, whatever their spelling; any
    other takes, in the order of the sorted names, the next colour that the list has not used.
    """
    names = sorted(set(genres))
    chosen = {name: _KNOWN[_plain(name)] for name in names if _plain(name) in _KNOWN}
    free = [colour for colour in GENRE_COLOURS if colour not in chosen.values()]
    free = free or list(GENRE_COLOURS)
    others = [name for name in names if name not in chosen]
    return chosen | {name: free[i % len(free)] for i, name in enumerate(others)}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


@dataclass(frozen=True)
class RunStyle:
    """How a run is drawn: colour, and the marker and pattern that replace it without colour."""

    colour: str
    marker: str
    pattern: str


def run_styles(run_ids: Sequence[str]) -> dict[str, RunStyle]:
    """A style for every run of the store, in order of creation (run ids begin with the time).

    Give all runs of the store, not only those shown: then a run keeps its style on every page and
    as new runs come.
    """
    return {run_id: _style(position) for position, run_id in enumerate(sorted(run_ids))}


def _style(position: int) -> RunStyle:
    # Marker and pattern move on with each round, so that two runs of one colour still differ.
    n = len(RUN_COLOURS)
    turn = position // n
    return RunStyle(
        RUN_COLOURS[position % n],
        MARKERS[(position + turn) % len(MARKERS)],
        PATTERNS[(position + turn) % len(PATTERNS)],
    )
