"""`genrecore probe`, `embed` and `hear`: what a run and its features keep of the sound."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import soundfile
import typer
from typer import Argument, Option

from genrecore.audio import decode as audio
from genrecore.cli.output import JSON, answer, out, print_json, print_table, reporting
from genrecore.cli.options import SET, settings
from genrecore.errors import GenrecoreError, UsageError, describe
from genrecore.inference import probes
from genrecore.inference.probes import PROBES, ProbeResults
from genrecore.store import run as runs
from genrecore.words import percent, signed_points

commands = typer.Typer(rich_markup_mode=None)


_WORDS = {"open": "cannot be told", "holds": "no difference"}
RUN = Annotated[str, Argument(help="A tested run's id, a part of it, or 'latest'.")]


@commands.command("probe")
def probe(
    run: RUN,
    only: Annotated[str, Option(help=f"Names with commas between: {', '.join(PROBES)}.")] = "",
    stored: Annotated[
        bool, Option("--stored", help="Judge nothing, show what was found before.")
    ] = False,
    as_json: JSON = False,
) -> None:
    """Is it the music or a trick? A run judges its test clips again: quieter, filtered, as MP3, a
    little faster or higher. Nothing is trained. What is found stays in the run's folder; page
    'Errors' shows it."""
    found = runs.find_run(run)
    names = [name.strip() for name in only.split(",") if name.strip()]
    for name in names:
        PROBES[name]
    if stored:
        kept = probes.read(found)
        if kept is None:
            raise GenrecoreError(
                f"The run {found.run_id} has not been probed yet: genrecore probe {found.run_id}."
            )
    else:
        with reporting(quiet=as_json) as report:
            kept = probes.probe(found, names, report)
    if as_json:
        print_json(
            {
                "run": found.run_id,
                "n_clips": kept.n_clips,
                "accuracy": kept.accuracy,
                "summary": kept.summary,
                "note": kept.note,
                "probes": kept.table,
            }
        )
        return
    _print(kept)


def _print(kept: ProbeResults) -> None:
    rows = [
        {
            "probe": row["probe"],
            "accuracy": percent(row["accuracy"]),
            "difference": signed_points(row["difference"]),
            "95 %": f"{signed_points(row['low'])} to {signed_points(row['high'])}",
            "p": f"{row['p']:.2g}",
            "verdict": _WORDS.get(row["word"], row["word"]),
        }
        for row in kept.table.to_dict("records")
    ]
    out.print(f"{kept.n_clips} test clips, unchanged {percent(kept.accuracy)}.")
    print_table(rows)
    out.print(kept.summary)
    if kept.note:
        out.print(kept.note, style="bold")


@commands.command("embed")
def embed(
    run: RUN,
    to: Annotated[
        Path | None, Option("--out", help="Writes map and embedding as a table, .csv or .parquet.")
    ] = None,
    as_json: JSON = False,
) -> None:
    """Where a run puts its clips: what stands before its last layer, and a map of it (PCA and
    t-SNE). Computed once and kept in the cache; page 'Errors' draws it, page 'Classify' tells by it
    which recordings are unlike them all, or the same."""
    from genrecore.evaluation import embeddings
    from genrecore.inference import doubts
    from genrecore.training import embedding

    found = runs.find_run(run)
    with reporting(quiet=as_json) as report:
        made = embedding.embed(found, report)
        drawn = embeddings.project(found, report)
        with contextlib.suppress(GenrecoreError):  # without its dataset there is a map as well
            doubts.prepare(found, report)
    if to is not None:
        columns = [f"e{k}" for k in range(made.values.shape[1])]
        values = pd.DataFrame(made.values, columns=columns)
        table = pd.concat([made.clips, values], axis=1).merge(
            drawn.points.drop(columns=["genre", "split"]), on="clip_id", how="left"
        )
        _write(table, to)
    facts = {
        "run": found.run_id,
        "n_clips": len(made.clips),
        "n_numbers": made.values.shape[1],
        "n_on_map": len(drawn.points),
        "pca_share": list(drawn.explained),
        "file": str(to.absolute()) if to else None,
    }
    if as_json:
        print_json(facts)
        return
    out.print(
        f"{facts['n_clips']} clips of {found.run_id}, {facts['n_numbers']} numbers each"
        + (f", written to {to}." if to else ".")
    )


def _write(table: pd.DataFrame, to: Path) -> None:
    try:
        if to.suffix == ".parquet":
            table.to_parquet(to, index=False)
        else:
            table.to_csv(to, index=False)
    except OSError as error:
        raise GenrecoreError(f"{to} cannot be written: {describe(error)}") from None


@commands.command()
def hear(
    clip: Annotated[Path, Argument(help="An audio file.")],
    to: Annotated[Path, Option("--out", help="The wav file to write.")],
    augment: Annotated[str, Option(help="Augmentations of waves, names with commas between.")] = "",
    inverse: Annotated[
        bool,
        Option(
            "--inverse", help="Turn the log-mel spectrogram of it back into sound (Griffin-Lim)."
        ),
    ] = False,
    set_: SET = None,
    seed: Annotated[int, Option(help="Of the random numbers.")] = 0,
    as_json: JSON = False,
) -> None:
    """Write a clip as training would change it, or as its log-mel spectrogram keeps it. Every
    augmentation named is applied; options as in 'genrecore train', e.g. --set
    augment.pitch.range_semitones=2 or --set feature.n_mels=32."""
    import torch

    from genrecore.augment import Chain
    from genrecore.config.run import with_values
    from genrecore.training import cores
    from genrecore.training.resolve import resolve

    chosen = settings(None, {"augment": augment} if augment else {}, set_)
    parts = resolve(chosen).config.augment
    chosen = with_values(chosen, {"augment": [part.model_dump() for part in parts]})
    always = {f"augment.{part.name}.p": 1.0 for part in parts}
    resolved = resolve(with_values(chosen, always))
    config = resolved.config
    rate = config.audio.sample_rate_hz
    decoded = audio.decode(clip, rate, middle_s=config.audio.clip_s)
    chain = Chain(resolved.augment, "wave", rate)
    if augment and len(chain.steps) < len(config.augment):
        raise UsageError("Only augmentations of waves can be heard; see 'genrecore list'.")
    if inverse and config.feature.name != "log_mel":
        raise UsageError("Only the feature log_mel can be turned back into sound.")
    wave = torch.from_numpy(decoded.wave)[None, None]
    with torch.inference_mode():
        wave = chain(wave, torch.Generator().manual_seed(seed))
        if inverse:
            part = resolved.feature
            feature = part.thing(part.options, rate, wave.shape[2])
            with cores.using(1):
                heard = feature.to_wave(feature(wave)[0]).numpy()
        else:
            heard = wave[0, 0].numpy()
    try:
        soundfile.write(to, np.clip(heard, -1.0, 1.0), rate, "PCM_16")
    except (OSError, soundfile.LibsndfileError) as error:
        raise GenrecoreError(f"{to} cannot be written: {describe(error)}") from None
    facts = {"file": to.absolute(), "seconds": round(len(heard) / rate, 3), "sample_rate_hz": rate}
    answer(as_json, facts, f"Wrote {facts['seconds']:g} s to {to}.")
