"""Explanations of a prediction: parts of the clip that support a genre, to see and to hear."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import streamlit as st

from genrecore import words
from genrecore.inference import explain
from genrecore.inference.explain import Deletion, Explainer, Explanation
from genrecore.inference.loaded import Prediction
from genrecore.reporting.plots import relevance
from genrecore.store.progress import phase_text
from genrecore.ui.classify.predictions import ClassifiedClip, OpenedRuns
from genrecore.ui.parts.cache import cached_by_files, no_files
from genrecore.ui.parts.choices import choose_one, chosen
from genrecore.ui.parts.frame import chart, plain, section
from genrecore.ui.parts.player import Marks, SoundExcerpt, player

_METHODS = {
    "gradcam": "Grad-CAM shows coarsely which regions raise the genre, at the last layer that "
    "still has positions.",
    "gradients": "Integrated gradients add up the effect of each point on the prediction, on the "
    "way from an empty image to the full one: fine, and noisy.",
    "occlusion": "Occlusion covers one region after the other and measures how much the "
    "probability of the genre falls.",
}
_MOST_STORED = 48
_MARKED = "_marked"  # where the session holds what the last map highlights: (key, marks)
_STRONG = 0.5  # of the strongest column; what is below is not marked
_PERCENT = 20  # of a map that counts as highlighted
_NONE_EXPLAINS = "No method explains it; the one whose map comes closest is shown."
T = TypeVar("T")


def show_why(classified: ClassifiedClip) -> None:
    """The regions of one segment that support a genre, whether they explain it, and their sound."""
    section("Why", "Which parts of the clip support a genre, according to the run.")
    k, _, loaded, prediction = classified.choose_run("why_run")
    explainer = _explainer(classified.opened, k)
    left, middle, right = st.columns(3, gap="medium")
    with left:
        order = [prediction.genres[n] for n in np.argsort(-prediction.proba, kind="stable")]
        genre = choose_one("Support for", order, "why_genre")
    with right:
        edges = explainer.segments(prediction.wave)
        surest = str(int(prediction.segments[f"p_{genre}"].to_numpy().argmax()))
        names = {
            str(n): f"{words.decimals(low)} to {words.decimals(high)} s"
            for n, (low, high) in enumerate(np.add(edges, prediction.start_s).tolist())
        }
        names[surest] += " (surest)"
        segment = choose_one("Segment", names, "why_piece", default=surest)

    def explained(method: str) -> Explanation:
        return _explain(classified, k, genre, method, int(segment))

    def deleted(method: str, percent: int) -> Deletion | None:
        parts = (classified.key, k, genre, method, segment, percent)
        return _kept(parts, lambda: explain.delete(
            loaded, prediction.wave, explained(method), percent / 100))  # fmt: skip

    titles = {name: explain.METHODS[name] for name in explainer.methods}
    best, explains = "", True
    if chosen("why_by") not in titles:
        best, explains = _first_that_explains(explainer.methods, lambda m: deleted(m, _PERCENT))
    with middle:
        method = choose_one("Method", titles, "why_by", default=best)
    explanation = explained(method)
    percent = int(st.session_state.get("why_share", _PERCENT))
    deletion = deleted(method, percent)
    if deletion is None:
        st.markdown(f"**{plain(f'Nothing in this segment supports {genre}.')}**")
    else:
        if not explains:
            st.markdown(f"**{_NONE_EXPLAINS}**")
        st.markdown(plain(deletion.sentence) if deletion.explains else
                    f"**{plain(deletion.sentence)}**")  # fmt: skip
    st.caption(_METHODS[method])
    times_s = explanation.times_s + prediction.start_s
    span_s = (explanation.begin_s + prediction.start_s, explanation.end_s + prediction.start_s)
    if explanation.image is not None and explanation.rows is not None:
        figure = relevance.over_image(
            explanation.relevance,
            explanation.image,
            times_s,
            explanation.rows,
            explanation.unit,
            genre,
            titles[method],
            span_s,
        )
    else:
        values = explanation.relevance[0]
        figure = relevance.over_time(values, times_s, genre, titles[method], span_s)
    chart(figure, "why_image")
    if deletion is not None:
        _listen(deletion, prediction, explanation.begin_s)
    marks = _marks(explanation, prediction.start_s)
    if st.session_state.get(_MARKED) != (classified.key, marks):  # the player stands above
        st.session_state[_MARKED] = (classified.key, marks)
        st.rerun()


def highlighted(classified: ClassifiedClip) -> Marks | None:
    """The segment that is explained and what the map highlights in it, for the player above."""
    key, marks = st.session_state.get(_MARKED, ("", None))
    return marks if key == classified.key and chosen("view") in ("", "why") else None


def _marks(explanation: Explanation, start_s: float) -> Marks:
    """The segment in the time of the recording, and in it the columns with strong support."""
    support = np.maximum(explanation.relevance, 0.0).sum(axis=0)
    begin_s, end_s = start_s + explanation.begin_s, start_s + explanation.end_s
    half_s = (end_s - begin_s) / len(support) / 2
    strong = [
        (start_s + float(at_s) - half_s, start_s + float(at_s) + half_s, float(strength))
        for at_s, strength in zip(
            explanation.times_s, support / (support.max() or 1.0), strict=True
        )
        if strength >= _STRONG
    ]
    return Marks(f"highlighted for {explanation.genre}", [(begin_s, end_s, 0.0), *strong])


def _first_that_explains(
    methods: Sequence[str], deleted: Callable[[str], Deletion | None]
) -> tuple[str, bool]:
    """The quickest method whose map explains the genre, and True; or the one whose map comes
    closest to it, and False."""
    left: dict[str, float] = {}
    for method in methods:
        deletion = deleted(method)
        if deletion is not None and deletion.explains:
            return method, True
        left[method] = 2.0 if deletion is None else deletion.of_genre[1]
    return min(left, key=lambda method: left[method]), False


def _listen(deletion: Deletion, prediction: Prediction, begin_s: float) -> None:
    """What is highlighted and the rest, with the run's probability for each alone."""
    st.slider("How much of the map counts as highlighted (%)", 5, 60, _PERCENT, 5, key="why_share")
    alone, rest, whole = deletion.of_genre
    genre = plain(deletion.genre)
    st.markdown(
        f"**Highlighted** :gray[alone gets {words.percent(alone)} {genre}] · "
        f"**The rest** :gray[alone gets {words.percent(rest)} {genre}]"
    )
    rate, start_s = prediction.sample_rate_hz, prediction.start_s + begin_s
    sounds = {
        "The whole segment": deletion.segment,
        "Highlighted": deletion.highlighted,
        "The rest": deletion.rest,
    }
    player(
        {
            title: SoundExcerpt(prediction.name, "", part, rate, start_s, prediction.duration_s)
            for title, part in sounds.items()
        },
        "why",
        above_chart=True,
    )
    how = (
        "The two sounds add up to it."
        if deletion.is_cut_out
        else "In the rest, every frequency has, where it is highlighted, what it usually has in "
        "this segment."
    )
    text = (
        f"The whole segment gets {words.percent(whole)}. {how} Both are made from the clip's own "
        "spectrum, with its phases."
    )
    if deletion.explains and alone < whole:
        text += (
            " What is highlighted is unlike any music in the training clips when it sounds alone, "
            "so it may get little even though it decided."
        )
    st.caption(text)


@cached_by_files(no_files, max_entries=2, shared=True)
def _explainer(opened: OpenedRuns, k: int) -> Explainer:
    return Explainer(opened.ensemble.loaded[k])


@cached_by_files(no_files, max_entries=1, shared=True)
def _stored() -> dict[str, Any]:
    return {}


def _kept(parts: tuple[object, ...], compute: Callable[[], T]) -> T:
    """What was computed under this name, or is now."""
    stored, key = _stored(), repr(parts)
    if key not in stored:
        value = compute()
        while len(stored) >= _MOST_STORED:
            stored.pop(next(iter(stored)), None)
        stored[key] = value
    return stored[key]


def _explain(
    classified: ClassifiedClip, k: int, genre: str, method: str, segment: int
) -> Explanation:
    """The explanation, computed with a progress bar where it is not stored."""

    def compute() -> Explanation:
        bar = st.progress(0.0, "Computing the explanation …")

        def report(phase: str, done: int, total: int) -> None:
            bar.progress(min(1.0, done / max(total, 1)), f"{phase_text(phase)}: {done} of {total}")

        wave = classified.result.predictions[k].wave
        explainer = _explainer(classified.opened, k)
        explanation = explainer.explain(wave, genre, method, segment, report)
        bar.empty()
        return explanation

    return _kept((classified.key, k, genre, method, segment), compute)
