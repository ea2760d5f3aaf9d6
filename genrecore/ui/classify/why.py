"""Explanations of a prediction: parts of the clip that support a genre, to see and to hear."""

from __future__ import annotations

import numpy as np
import streamlit as st

from genrecore import words
from genrecore.audio import resynthesis
from genrecore.data.corpus import quantise
from genrecore.inference import explain
from genrecore.inference.explain import Explainer, Explanation
from genrecore.inference.loaded import Excerpt, LoadedRun, Prediction
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


def show_why(classified: ClassifiedClip) -> None:
    """The regions of one segment that support a genre, as an image and as sound."""
    section("Why", "Which parts of the clip support a genre, according to the run.")
    k, _, loaded, prediction = classified.choose_run("why_run")
    explainer = _explainer(classified.opened, k)
    left, middle, right = st.columns(3, gap="medium")
    with left:
        order = [prediction.genres[n] for n in np.argsort(-prediction.proba, kind="stable")]
        genre = choose_one("Support for", order, "why_genre")
    with middle:
        titles = {name: explain.METHODS[name] for name in explainer.methods}
        method = choose_one("Method", titles, "why_by")
    with right:
        edges = explainer.segments(prediction.wave)
        surest = str(int(prediction.segments[f"p_{genre}"].to_numpy().argmax()))
        names = {
            str(n): f"{words.decimals(low)} to {words.decimals(high)} s"
            for n, (low, high) in enumerate(np.add(edges, prediction.start_s).tolist())
        }
        names[surest] += " (surest)"
        segment = choose_one("Segment", names, "why_piece", default=surest)
    explanation = _explain(classified, k, genre, method, int(segment))
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
    if explanation.relevance.max() <= 0:
        st.caption(plain(f"Nothing in this segment supports {genre}."))
    else:
        _listen(loaded, prediction, explanation)
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


def _listen(loaded: LoadedRun, prediction: Prediction, explanation: Explanation) -> None:
    """The supporting regions and the rest, with the run's probability for each alone."""
    share = st.slider("How much of the image counts as support (%)", 5, 60, 20, 5, key="why_share")
    rate, genre, begin_s = prediction.sample_rate_hz, explanation.genre, explanation.begin_s
    wave = prediction.wave[round(begin_s * rate) : round(explanation.end_s * rate)]
    mask = resynthesis.strongest(explanation.relevance, share / 100)
    times_s = explanation.times_s - begin_s
    support, rest = resynthesis.kept_and_rest(wave, rate, mask, times_s, explanation.centres_hz)
    sounds, shares = {"The whole segment": wave, "The support": support, "The rest": rest}, []
    for title, part in list(sounds.items())[1:]:
        excerpt = Excerpt(title, quantise(part), 0.0, len(part) / rate)
        proba = loaded.predict([excerpt])[0].uncalibrated[prediction.genres.index(genre)]
        shares.append(f"**{title}** :gray[alone gets {words.percent(proba)} {plain(genre)}]")
    st.markdown(" · ".join(shares))
    start_s, total_s = prediction.start_s + begin_s, prediction.duration_s
    player(
        {
            title: SoundExcerpt(prediction.name, "", part, rate, start_s, total_s)
            for title, part in sounds.items()
        },
        "why",
        above_chart=True,
    )
    starts_s = prediction.segments["start_s"].to_numpy() - prediction.start_s
    nearest = int(np.abs(starts_s - begin_s).argmin())
    whole = words.percent(float(prediction.segments[f"p_{genre}"].iloc[nearest]))
    st.caption(
        f"The whole segment gets {whole}. The two sounds add up to it: they are cut out of the "
        "clip's own spectrum, with its phases. One alone is unlike any music in the training "
        "clips, so it may get little even though it decided."
    )


@cached_by_files(no_files, max_entries=2, shared=True)
def _explainer(opened: OpenedRuns, k: int) -> Explainer:
    return Explainer(opened.ensemble.loaded[k])


@cached_by_files(no_files, max_entries=1, shared=True)
def _stored() -> dict[str, Explanation]:
    return {}


def _explain(
    classified: ClassifiedClip, k: int, genre: str, method: str, segment: int
) -> Explanation:
    """The explanation, computed with a progress bar where it is not stored."""
    stored, key = _stored(), repr((classified.key, k, genre, method, segment))
    if key in stored:
        return stored[key]
    bar = st.progress(0.0, "Computing the explanation …")

    def report(phase: str, done: int, total: int) -> None:
        bar.progress(min(1.0, done / max(total, 1)), f"{phase_text(phase)}: {done} of {total}")

    wave = classified.result.predictions[k].wave
    explanation = _explainer(classified.opened, k).explain(wave, genre, method, segment, report)
    bar.empty()
    while len(stored) >= _MOST_STORED:
        stored.pop(next(iter(stored)), None)
    stored[key] = explanation
    return explanation
