"""Why a run says what it says of a clip: seen on its picture, and heard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st

from genrecore.audio import decode as audio
from genrecore.audio import resynthesis
from genrecore.data.corpus import quantise
from genrecore.inference import explain
from genrecore.inference.explain import Explainer, Explanation
from genrecore.inference.loaded import Excerpt, LoadedRun, Verdict
from genrecore.reporting.plots import relevance
from genrecore.reporting.plots.chart import percent
from genrecore.store.progress import phase_text
from genrecore.store.run import Run
from genrecore.ui.classify.doubts import choose_run
from genrecore.ui.parts.choices import choose_one
from genrecore.ui.parts.frame import chart, pair, plain, section

Keys = tuple[tuple[str, int], ...]

_WORDS = {
    "gradcam": "Grad-CAM shows coarsely where the last layer that still knows places found it.",
    "gradients": "Integrated gradients add up what each point of the picture does to the verdict, "
    "on the way from nothing to the picture: fine, and noisy.",
    "occlusion": "Occlusion covers one place after the other and looks how much less the run "
    "believes in the genre.",
}
_MOST_KEPT = 48


def why(
    keys: Keys,
    runs: Sequence[Run],
    loaded: Sequence[LoadedRun],
    verdicts: Sequence[Verdict],
    clip: str,
) -> None:
    """The places that speak for a genre in one piece of the clip, and what they sound like."""
    section("Why", "Which places of the clip speak for a genre, in the ears of a run.")
    place = choose_run(runs, "why_run")
    key, one, verdict = keys[place], loaded[place], verdicts[place]
    explainer = _explainer(key, one)
    left, middle, right = st.columns(3, gap="medium")
    with left:
        order = [verdict.genres[k] for k in np.argsort(-verdict.proba, kind="stable")]
        genre = choose_one("What speaks for", order, "why_genre")
    with middle:
        method = choose_one(
            "How it is found", explainer.methods, "why_by", words=explain.METHODS.__getitem__
        )
    pieces = explainer.pieces(verdict.wave)
    surest = int(verdict.segments[f"p_{genre}"].to_numpy().argmax())
    with right:
        names = {str(k): f"{low:.1f} to {high:.1f} s" for k, (low, high) in enumerate(pieces)}
        names[str(surest)] += " (surest)"
        piece = int(
            choose_one(
                "In which segment",
                list(names),
                "why_piece",
                words=names.__getitem__,
                default=str(surest),
            )
        )
    found = _explained(key, clip, explainer, verdict, genre, method, piece)
    st.caption(_WORDS[method])
    name = explain.METHODS[method]
    if found.picture is not None and found.rows is not None:
        drawn = relevance.over_picture(
            found.relevance, found.picture, found.times_s, found.rows, found.unit, genre, name
        )
    else:
        drawn = relevance.over_time(found.relevance[0], found.times_s, genre, name)
    chart(drawn, "why_picture")
    if found.relevance.max() <= 0:
        st.caption(plain(f"In this segment nothing speaks for {genre}."))
        return
    _listen(one, verdict, found)


def _listen(loaded: LoadedRun, verdict: Verdict, found: Explanation) -> None:
    """What decided and the rest, with what the run says of each alone."""
    share = st.slider(
        "How much of the picture is what decided (%)", 5, 60, 20, step=5, key="why_share"
    )
    rate = verdict.sample_rate_hz
    wave = verdict.wave[round(found.begin_s * rate) : round(found.end_s * rate)]
    mask = resynthesis.strongest(found.relevance, share / 100)
    kept, rest = resynthesis.kept_and_rest(
        wave, rate, mask, found.times_s - found.begin_s, found.centres_hz
    )
    k = verdict.genres.index(found.genre)
    parts = (("What decided", kept, "kept"), ("The rest", rest, "rest"))
    for column, (title, part, name) in zip(pair("heard_why"), parts, strict=True):
        excerpt = Excerpt(name, quantise(part), 0.0, len(part) / rate)
        proba = loaded.judge([excerpt])[0].uncalibrated[k]
        with column:
            st.markdown(
                f"**{title}** :gray[heard alone, the run gives it {percent(proba)} "
                f"{plain(found.genre)}]"
            )
            st.audio(audio.to_wav_bytes(part, rate), format="audio/wav")
    whole = verdict.segments.iloc[_segment_at(verdict, found)][f"p_{found.genre}"]
    st.caption(
        f"The whole segment gets {percent(float(whole))}. The two parts add up to it: they are "
        "cut out of the clip's own spectrum, with its phases. A part alone is unlike any music "
        "that the run learned from, so it may get little even though it decided."
    )


def _segment_at(verdict: Verdict, found: Explanation) -> int:
    starts = verdict.segments["start_s"].to_numpy() - verdict.start_s
    return int(np.abs(starts - found.begin_s).argmin())


@st.cache_resource(max_entries=2, show_spinner=False)
def _explainer(key: tuple[str, int], _loaded: LoadedRun) -> Explainer:
    return Explainer(_loaded)


@st.cache_resource(max_entries=1, show_spinner=False)
def _kept() -> dict[tuple[object, ...], Explanation]:
    return {}


def _explained(
    key: tuple[str, int],
    clip: str,
    explainer: Explainer,
    verdict: Verdict,
    genre: str,
    method: str,
    piece: int,
) -> Explanation:
    """The explanation, computed with a bar where it is not one of the last ones."""
    kept = _kept()
    what = (key, clip, verdict.start_s, len(verdict.wave), genre, method, piece)
    if what not in kept:
        bar = st.progress(0.0, "Looking for what speaks for it …")

        def report(phase: str, done: int, total: int) -> None:
            bar.progress(min(1.0, done / max(total, 1)), f"{phase_text(phase)}: {done} of {total}")

        made = explainer.explain(verdict.wave, genre, method, piece, report)
        bar.empty()
        while len(kept) >= _MOST_KEPT:
            kept.pop(next(iter(kept)), None)
        kept[what] = made
        return made
    return kept[what]
