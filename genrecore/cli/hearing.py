"""`genrecore hear`: what augmentation makes of a clip, and what is left of it in a feature."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile
import typer

from genrecore.audio import decode as audio
from genrecore.cli.app import app
from genrecore.cli.output import JSON, out, print_json
from genrecore.cli.training import SET, settings
from genrecore.errors import GenrecoreError, UsageError, describe


@app.command()
def hear(
    clip: Annotated[Path, typer.Argument(help="An audio file.")],
    to: Annotated[Path, typer.Option("--out", help="The wav file to write.")],
    augment: Annotated[
        str, typer.Option(help="Augmentations of waves, names with commas between.")
    ] = "",
    inverse: Annotated[
        bool,
        typer.Option(
            "--inverse", help="Turn the log-mel spectrogram of it back into sound (Griffin-Lim)."
        ),
    ] = False,
    set_: SET = None,
    seed: Annotated[int, typer.Option(help="Of the random numbers.")] = 0,
    as_json: JSON = False,
) -> None:
    """Write a clip as training would change it, or as its log-mel spectrogram keeps it. Every
    augmentation named is applied; options as in 'genrecore train', e.g. --set
    augment.pitch.range_semitones=2 or --set feature.n_mels=32."""
    import torch

    from genrecore.augment import Chain
    from genrecore.config.run import with_values
    from genrecore.reporting import feature_charts as depiction
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
            feature, n = resolved.feature, wave.shape[2]
            image = feature.thing(feature.options, rate, n)(wave)[0]
            heard = depiction.sound_of(image, feature.options, rate, n)
        else:
            heard = wave[0, 0].numpy()
    try:
        soundfile.write(to, np.clip(heard, -1.0, 1.0), rate, "PCM_16")
    except (OSError, soundfile.LibsndfileError) as error:
        raise GenrecoreError(f"{to} cannot be written: {describe(error)}") from None
    facts = {"file": to.absolute(), "seconds": round(len(heard) / rate, 3), "sample_rate_hz": rate}
    if as_json:
        print_json(facts)
    else:
        out.print(f"Wrote {facts['seconds']:g} s to {to}.", markup=False)
