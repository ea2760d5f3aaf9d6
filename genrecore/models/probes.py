"""Small classifiers above the embeddings of an encoder; they take other vectors as well.

scikit-learn is imported when an estimator is built: it takes a second.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from genrecore.config.registry import Options
from genrecore.config.training import zero_means
from genrecore.models.registered import MODELS

_VECTOR = frozenset({"vector"})
_STRENGTHS = tuple(10.0**k for k in range(-5, 3))


class LinearProbeOptions(Options):
    """What can be chosen about a linear probe."""

    C: float = Field(
        0.0,
        title="C",
        description="The smaller, the more the weights are held near zero (L2)",
        ge=0,
        le=1e9,
        json_schema_extra=zero_means("chosen by the validation clips"),
    )


@MODELS.register(
    "linear_probe",
    title="Linear probe",
    source="Alain & Bengio, Understanding intermediate layers using linear classifier probes, "
    "2016; scikit-learn's LogisticRegression",
    options=LinearProbeOptions,
    accepts=_VECTOR,
    least=(1,),
    year=2016,
    idea="Logistic regression above embeddings shows what a pretrained encoder knows.",
    classical=True,
    tuned=("C", _STRENGTHS),
)
def linear_probe(options: LinearProbeOptions, seed: int) -> Any:
    """Multinomial logistic regression with an L2 penalty, by L-BFGS; nothing in it is random.

    Of eight strengths from 0.00001 to 100 the one is kept with the lowest loss of the validation
    clips, which a split by artist takes from other artists.
    """
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=options.C or 1.0, max_iter=1000)


@MODELS.register(
    "prototypes",
    title="Prototypes (nearest class means)",
    source="Snell, Swersky & Zemel, Prototypical networks for few-shot learning, NeurIPS 2017; "
    "scikit-learn's NearestCentroid",
    accepts=_VECTOR,
    least=(1,),
    year=2017,
    idea="Each genre is the mean of its clips; a clip has the genre of the nearest mean.",
    classical=True,
)
def prototypes(options: Options, seed: int) -> Any:
    """The genre whose mean vector is nearest by Euclidean distance; probabilities are the softmax
    of minus half the squared distances."""
    from sklearn.neighbors import NearestCentroid

    return NearestCentroid(priors="uniform")
