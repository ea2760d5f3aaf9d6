"""A program that adds one thing of each kind from outside the package, and uses all of them.

Each addition is what a file of the package would hold: one function or class with its registration,
and nothing anywhere else. What the product then says about them is written as JSON.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from conftest import ROOT
from opened import open_page
from opened import words as text_of
from pydantic import Field
from streamlit.testing.v1 import AppTest
from torch import Tensor, nn

from genrecore import cli
from genrecore.audio.axes import Axes, band_rows
from genrecore.augment.registered import AUGMENTATIONS, AugmentOptions, Configured
from genrecore.config.registry import Options
from genrecore.data import clips
from genrecore.data.datasets import DATASETS
from genrecore.data.splits import SPLITS
from genrecore.evaluation.metrics import METRICS
from genrecore.features import FEATURES
from genrecore.models import MODELS
from genrecore.store.files import cache_dir
from genrecore.ui.parts import frame

RATE_HZ, CLIP_S = 22_050, 2.0


class TonesOptions(Options):
    """How many there are."""

    n_clips: int = Field(8, title="Clips a genre", description="Made of one tone each", ge=3, le=99)


@DATASETS.register(
    "toy_tones",
    title="Toy tones",
    source="made here",
    options=TonesOptions,
    n_genres=2,
    made_up=True,
)
def load_tones(options: TonesOptions, report: Callable[..., None]) -> pd.DataFrame:
    """Low tones and high tones."""
    import soundfile

    folder = cache_dir() / "toy_tones"
    folder.mkdir(parents=True, exist_ok=True)
    rows, t = [], np.arange(round(CLIP_S * RATE_HZ)) / RATE_HZ
    for genre, hz in (("high", 3_000.0), ("low", 300.0)):
        for k in range(options.n_clips):
            path = folder / f"{genre}.{k}.wav"
            if not path.exists():
                soundfile.write(path, 0.5 * np.sin(2 * np.pi * (hz + 9 * k) * t), RATE_HZ)
            rows.append(
                {
                    "clip_id": path.stem,
                    "path": str(path),
                    "medium": "audio",
                    "genre": genre,
                    "artist": f"{genre} {k}",
                    "album": None,
                    "duration_s": CLIP_S,
                }
            )
    return clips.clip_table(rows)


@SPLITS.register(
    "toy_halves",
    title="Toy halves",
    source="made here",
    options=Options,
    folds=False,
    seeded=False,
    keeps=("artist",),
    says="Clips take turns.",
)
def split_in_turns(table: pd.DataFrame, options: Options, seed: int, fold: int) -> pd.Series:
    """Every third clip is tested, every third validated."""
    names = np.array(["train", "valid", "test"])
    return pd.Series(names[np.arange(len(table)) % 3], index=table.index)


@FEATURES.register(
    "toy_octaves", title="Toy octaves", source="made here", kind="image", needs=("wave",)
)
class Octaves(nn.Module):
    """Mean magnitudes in six octaves from 110 Hz, one column a segment."""

    def __init__(self, options: Options, sample_rate_hz: int, n_samples: int) -> None:
        super().__init__()
        self.duration_s = n_samples / sample_rate_hz
        self.output_shape = (1, 6, 4)
        self.low_hz = 110.0 * 2.0 ** np.arange(6)
        self.n_part = n_samples // 4
        hz = torch.fft.rfftfreq(self.n_part, 1 / sample_rate_hz)
        edges = torch.from_numpy(np.append(self.low_hz, 7_040.0)).float()
        octave = torch.bucketize(hz, edges, right=True) - 1
        self.register_buffer("members", (octave == torch.arange(6)[:, None]).float())

    def axes(self) -> tuple[Axes, ...]:
        rows = band_rows("octaves", self.low_hz, self.low_hz * 2**0.5, self.low_hz * 2)
        return (Axes("Toy octaves", "magnitude", rows, "parts", self.duration_s),)

    def forward(self, wave: Tensor) -> Tensor:
        parts = wave[:, 0].unfold(1, self.n_part, self.n_part)[:, :4]
        magnitudes = torch.fft.rfft(parts).abs()
        return (magnitudes @ self.members.T / self.members.sum(1)).mT[:, None]


@AUGMENTATIONS.register(
    "toy_flip", title="Toy flip", source="made here", options=AugmentOptions, on="wave"
)
class Flip(Configured[AugmentOptions]):
    """The wave upside down."""

    def draw(self, n: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return torch.ones(n)

    def apply(self, x: Tensor, drawn: Tensor) -> Tensor:
        return -x


@MODELS.register(
    "toy_linear", title="Toy linear", source="made here", accepts=frozenset({"image"}), year=2026
)
def build_linear(shape: tuple[int, ...], n_genres: int, options: Options) -> nn.Module:
    """One matrix."""
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), n_genres))


def register_metric() -> None:
    """Later than the runs, so that it has to show for runs that were there before it."""

    @METRICS.register("toy_hits", title="Toy hits", format="share")
    def hits(genre_index: np.ndarray, proba: np.ndarray) -> float:
        """Share of clips that are right, once more."""
        right = (proba.argmax(1) == genre_index) & np.isfinite(proba).all(axis=1)
        return float(right.mean()) if len(proba) else float("nan")


def run_command(*arguments: str) -> str:
    """What the command prints."""
    printed = io.StringIO()
    sys.argv = ["genrecore", *arguments]
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        cli.main()
    return printed.getvalue()


def page_text(name: str, **query: str) -> str:
    """A page's text, tables and the choices of its widgets."""
    app = open_page(name, **query)
    choices = [str(option) for box in [*app.selectbox, *app.multiselect] for option in box.options]
    choices += [str(option) for radio in app.radio for option in radio.options]
    tables = [f"{frame.value.columns.tolist()}{frame.value.to_csv()}" for frame in app.dataframe]
    return "\n".join([text_of(app), *choices, *tables])


def main(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = {"list": json.loads(run_command("list", "--json"))}
    arguments = "--dataset toy_tones --split toy_halves --feature toy_octaves --model toy_linear"
    arguments += " --augment toy_flip --set dataset.n_clips=9 --clip-s 2 --segment-s 1 --epochs 3"
    arguments += " --batch-size 4 --device cpu --json"
    trained: list[Mapping[str, Any]] = [
        json.loads(run_command("train", *arguments.split(), "--seed", seed)) for seed in "01"
    ]
    names = [str(run["run"]) for run in trained]
    facts["states"] = [run["state"] for run in trained]
    facts["compared_before"] = run_command("compare", *names, "--json")
    register_metric()
    facts["compared"] = run_command("compare", *names, "--json")
    report = folder / "report.html"
    run_command("compare", *names, "--report", str(report))
    facts["report"] = report.read_text(encoding="utf-8")
    facts["card"] = run_command("models", "show", "toy_linear", "--json")
    facts["classified"] = run_command(
        "classify", str(next(cache_dir().rglob("low.0.wav"))), "--run", names[0], "--json"
    )
    query = {"dataset": "toy_tones", "feature": "toy_octaves", "model": "toy_linear"}
    facts["train_page"] = page_text("train", **query, split="toy_halves", augment="toy_flip")
    facts["compare_page"] = page_text("compare", runs=",".join(names), view="scores")
    facts["models_page"] = page_text("models", model="toy_linear")
    # A page is one script in `pages/`.
    pages = shutil.copytree(ROOT / "pages", folder / "pages")
    (pages / "toy.py").write_text(
        '"""A page from outside."""\n\n# menu: More, 999, :material/toys:\n\n'
        'from genrecore import ui\n\nui.page("Toy", "It was added by one script.")\n'
    )
    frame._PAGES = pages
    app = AppTest.from_file(str(shutil.copy(ROOT / "app.py", folder)), default_timeout=60).run()
    app.switch_page("pages/toy.py").run()
    facts["toy_page"] = text_of(app)
    return facts


if __name__ == "__main__":
    out = Path(sys.argv[1])
    (out / "facts.json").write_text(json.dumps(main(out)), encoding="utf-8")
