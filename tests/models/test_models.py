"""Every registered network: shapes, gradients, determinism, learning, and what is said about it.

What is particular to one family has a file of its own; only the base CNN's is here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from genrecore.config.run import RunConfig, with_values
from genrecore.errors import GenrecoreError
from genrecore.features import FEATURES, PRESETS
from genrecore.models import MODELS
from genrecore.training.classifier import Classifier
from genrecore.training.parts import ResolvedConfig, fits, takes
from genrecore.training.resolve import resolve

N_GENRES = 7
GENRES = [f"genre {k}" for k in range(N_GENRES)]
NAMES = [name for name in MODELS if not MODELS[name].facts.classical]
LARGE = {"alexnet", "vgg16"}  # 230 and 540 MB; what needs them twice or trained is long


def of(names: list[str], long: bool = False) -> list[Any]:
    """Models as parameters: one worker builds a model once; large ones wait for the long tests."""

    def marks(name: str) -> list[Any]:
        group = pytest.mark.xdist_group(f"model {name}")
        return [group, pytest.mark.long] if long and name in LARGE else [group]

    return [pytest.param(name, marks=marks(name)) for name in names]


def model(name: str, shape: Any, n_genres: int = N_GENRES, seed: int = 7, **options: object) -> Any:
    torch.manual_seed(seed)
    if "encoder" in MODELS[name].options.model_fields:
        options = {"pretrained": False} | options  # its weights would have to be fetched
    return MODELS[name].thing(shape, n_genres, MODELS.choose(name, options).options)


def random(n: int, shape: Any, seed: int = 7) -> Any:
    """A batch of n: a tensor, or a tuple of two where the shape is a pair."""
    if isinstance(shape[0], tuple):
        return tuple(random(n, part, seed + k) for k, part in enumerate(shape))
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


def item(batch: Any, k: int) -> Any:
    return (
        tuple(part[k : k + 1] for part in batch) if isinstance(batch, tuple) else batch[k : k + 1]
    )


def loss_of(pairs: list[tuple[float, Tensor]], genres: Tensor) -> Tensor:
    """As the trainer weighs a network's logits, so that auxiliary heads count."""
    losses = [weight * nn.functional.cross_entropy(logits, genres) for weight, logits in pairs]
    return torch.stack(losses).sum()


def training_pairs(network: nn.Module, batch: Any) -> list[tuple[float, Tensor]]:
    own: Any = getattr(network, "training_logits", None)
    return [(1.0, network(batch))] if own is None else own(batch)


# What a model says about itself


@pytest.mark.parametrize("name", NAMES)
def test_a_model_states_its_title_source_year_idea_and_options(name: str) -> None:
    entry = MODELS[name]
    assert entry.title
    assert entry.source
    assert entry.facts.accepts
    assert entry.facts.accepts <= {entry.facts.kind for entry in FEATURES.values()}
    assert 1950 <= entry.facts.year <= 2030
    for sentence in (entry.facts.idea, *entry.facts.notes):
        assert sentence[0].isupper() or sentence[0].isdigit()
        assert sentence.endswith(".")
        assert "\n" not in sentence
    for field in entry.options.model_fields.values():
        assert field.title
        assert field.description


@pytest.mark.parametrize("name", NAMES)
def test_input_and_recipe_of_a_study_make_a_valid_configuration(name: str) -> None:
    facts = MODELS[name].facts
    with_values(RunConfig(), facts.recipe)
    if not facts.preset:
        return
    values = PRESETS[facts.preset].thing
    assert FEATURES[values["feature"]].facts.kind in facts.accepts
    config = with_values(RunConfig(), {**values, "model": name, **facts.recipe})
    resolved = resolve(config).config
    for dotted, value in facts.recipe.items():
        group, _, field = dotted.partition(".")
        if group in ("training", "segments"):
            assert getattr(getattr(resolved, group), field) == value


@pytest.mark.parametrize("name", NAMES)
def test_printed_sizes_are_met_within_3_percent_or_the_difference_is_explained(name: str) -> None:
    for printed in MODELS[name].facts.published:
        with torch.device("meta"):
            network = model(name, printed.shape, printed.n_genres)
        n_parameters = sum(p.numel() for p in network.parameters())
        assert (abs(n_parameters / printed.n_parameters - 1) <= 0.03) == (not printed.why), (
            n_parameters,
            printed,
        )


# Shapes: every model with every feature that it takes


def array_of(folder: Path, *shape: int) -> str:
    """The folder, with a clip that is an array of this shape."""
    (folder / "jazz").mkdir(exist_ok=True)
    np.save(folder / "jazz" / "a clip.npy", np.zeros(shape))
    return str(folder)


def configured(feature: str, name: str, folder: Path) -> RunConfig:
    """Segments of 3 s, or what the dataset ships, with the feature's default options; images
    smaller than the model's smallest are resized to that."""
    values: dict[str, object] = {"feature": feature, "model": name}
    if not takes(feature, "wave"):
        values |= {
            "image": {"dataset": "gtzan", "dataset.form": "images"},
            "table": {"dataset": "gtzan", "dataset.form": "table_3s"},
            "vector": {"dataset": "folder", "dataset.folder": array_of(folder, 7)},
            "sequence": {"dataset": "folder", "dataset.folder": array_of(folder, 11, 7)},
        }[FEATURES[feature].facts.needs[0]]
    config = with_values(RunConfig(), values)
    shape, least = feature_shape(config), MODELS[name].facts.least
    if len(shape) == len(least) == 3:
        sizes = {"bins": (shape[1], least[1]), "frames": (shape[2], least[2])}
        for option, (has, needs) in sizes.items():
            if has < needs:
                config = with_values(config, {f"feature.{option}": needs})
    return config


def feature_shape(config: RunConfig) -> Any:
    """The shape of a feature of 3 s of sound, or of what datasets ship."""
    resolved = ResolvedConfig(config)
    return resolved.front_end(resolved.typical_shape).output_shape


def fitting() -> Iterator[Any]:
    """Models with the features that they take: each model with the first of each kind, the base
    CNN with all; the others, whose shapes these have too, wait for the long tests."""
    for name in NAMES:
        kinds = set()
        for feature in FEATURES:
            if not fits(feature, name):
                kind = FEATURES[feature].facts.kind
                daily = name == "cnn" or kind not in kinds
                marks = [pytest.mark.xdist_group(f"model {name}")]
                yield pytest.param(
                    name, feature, marks=marks if daily else [*marks, pytest.mark.long]
                )
                kinds.add(kind)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "feature"), [*fitting()])
def test_every_feature_that_a_model_takes_gives_logits_and_gradients(
    name: str, feature: str, tmp_path: Path
) -> None:
    resolved = ResolvedConfig(configured(feature, name, tmp_path))
    with torch.device("meta"):
        shape = MODELS[name].facts.least
        recurrent = any(isinstance(m, nn.RNNBase) for m in model(name, shape).modules())
    # Without numbers torch walks through recurrent layers step by step in Python, which takes
    # longer than the arithmetic does.
    with torch.device("cpu" if recurrent else "meta"):
        network = Classifier(resolved, GENRES, resolved.typical_shape)
        batch = zeros(3, network.feature.output_shape)
        pairs = network.heads(network.standardised(batch))
        for _, logits in pairs:
            assert logits.shape == (3, N_GENRES)
        loss_of(pairs, torch.zeros(3, dtype=torch.long)).backward()
        with torch.no_grad():
            assert network.eval().logits(batch).shape == (3, N_GENRES)
    for label, parameter in network.named_parameters():
        assert parameter.grad is not None, label


def zeros(n: int, shape: Any) -> Any:
    if isinstance(shape[0], tuple):
        return tuple(zeros(n, part) for part in shape)
    return torch.zeros(n, *shape)


# Real arithmetic, at the smallest input


@dataclass
class AtLeast:
    """A network built for its smallest input, and five of those."""

    name: str
    network: Any
    batch: Any


@pytest.fixture(scope="module", params=of(NAMES, long=True))
def at_least(request: pytest.FixtureRequest) -> AtLeast:
    shape = MODELS[request.param].facts.least
    return AtLeast(request.param, model(request.param, shape), random(5, shape))


@pytest.mark.slow
def test_at_its_smallest_input_every_parameter_gets_a_gradient(at_least: AtLeast) -> None:
    network = at_least.network.train()
    pairs = training_pairs(network, at_least.batch)
    loss_of(pairs, torch.tensor([0, 3, 6, 2, 0])).backward()
    for _, logits in pairs:
        assert logits.shape == (5, N_GENRES)
        assert logits.isfinite().all()
    for label, parameter in network.named_parameters():
        assert parameter.grad is not None, label
        assert 0 < parameter.grad.norm() < torch.inf, label
    network.zero_grad()


@pytest.mark.slow
def test_evaluation_is_deterministic_and_a_batch_equals_its_items(at_least: AtLeast) -> None:
    network = at_least.network.eval()
    with torch.no_grad():
        first, again = network(at_least.batch), network(at_least.batch)
        items = torch.cat([network(item(at_least.batch, k)) for k in range(5)])
    assert first.isfinite().all()
    torch.testing.assert_close(first, again, atol=0, rtol=0)
    # float32 in another order, relative to the logits' own size
    torch.testing.assert_close(first, items, atol=1e-4 * float(first.abs().max()), rtol=1e-4)


def shrunk(shape: Any) -> Iterator[tuple[str, Any]]:
    """The shape with one less along one axis, for every axis where that leaves something."""
    for k, size in enumerate(shape):
        if isinstance(size, tuple):
            for axis, less in shrunk(size):
                yield f"{k}.{axis}", (*shape[:k], less, *shape[k + 1 :])
        elif size > 1:
            yield str(k), (*shape[:k], size - 1, *shape[k + 1 :])


TOO_SMALL = [
    pytest.param(name, shape, id=f"{name}-{axis}")
    for name in NAMES
    for axis, shape in shrunk(MODELS[name].facts.least)
]


@pytest.mark.parametrize(("name", "shape"), TOO_SMALL)
def test_one_less_than_the_smallest_input_is_refused_in_one_sentence(name: str, shape: Any) -> None:
    with pytest.raises(GenrecoreError, match=f"[Mm]odel {name} ") as caught:
        model(name, shape)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    assert ". " not in message


# Seeds, files and learning


@pytest.mark.slow
@pytest.mark.parametrize("name", of(NAMES, long=True))
def test_a_seed_gives_the_same_weights_again_and_a_file_brings_them_back(
    name: str, tmp_path: Path
) -> None:
    shape = MODELS[name].facts.least
    network, again, reseeded = (model(name, shape, seed=seed).eval() for seed in (7, 7, 8))
    for a, b in zip(network.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=0, rtol=0)
    batch = random(3, shape)
    with torch.no_grad():
        assert not torch.equal(network(batch), reseeded(batch))
        save_file(network.state_dict(), tmp_path / "weights.safetensors")
        reseeded.load_state_dict(load_file(tmp_path / "weights.safetensors"))
        torch.testing.assert_close(reseeded(batch), network(batch), atol=0, rtol=0)


SMALL = {"width": 8, "maps": 16, "hidden": "64", "units": 16, "dropout": 0.0,
         "map_dropout": 0.0, "gru_dropout": 0.0}  # fmt: skip
"""Options of small networks that learn within seconds; each model takes those that it has."""


@pytest.mark.slow
@pytest.mark.parametrize("name", of(NAMES, long=True))
def test_three_genres_are_learned_within_a_few_steps(name: str) -> None:
    fields = MODELS[name].options.model_fields
    options = {key: value for key, value in SMALL.items() if key in fields}
    shape = learnable(MODELS[name].facts.least)
    network = model(name, shape, 3, **options)
    genres = torch.arange(12) % 3
    typical, noise = random(3, shape, seed=1), random(12, shape, seed=2)
    batch = (
        tuple(t[genres] + 0.3 * n for t, n in zip(typical, noise, strict=True))
        if isinstance(noise, tuple)
        else typical[genres] + 0.3 * noise
    )
    # Without batch normalisation, deep networks learn nothing from steps as long as the others'.
    optimiser = torch.optim.Adam(network.parameters(), 1e-4 if name in LARGE else 1e-3)
    for _ in range(80):
        pairs = training_pairs(network, batch)
        main = nn.functional.cross_entropy(pairs[0][1], genres)
        if main < 0.3:  # chance is 1.1, the logarithm of 3
            break
        optimiser.zero_grad()
        loss_of(pairs, genres).backward()
        optimiser.step()
    assert main < 0.3


def learnable(least: Any) -> Any:
    """A shape at which networks have something to learn from, still small."""
    if isinstance(least[0], tuple):
        return ((1, 640), (1, 9, 11))
    enough = {3: (1, 33, 35), 2: (1, 9), 1: (11,)}[len(least)]
    return tuple(max(a, b) for a, b in zip(least, enough, strict=True))


# The base CNN


def test_the_base_cnn_has_the_papers_300_000_parameters() -> None:
    with torch.device("meta"):
        network = model("cnn", (1, 128, 128), 8)
    # "~300,000", for FMA-small's 8 genres at 128 × 128: printed with one digit
    assert 250_000 < sum(p.numel() for p in network.parameters()) < 350_000


@pytest.mark.parametrize("batch_norm", [True, False])
def test_the_cnn_learns_which_band_is_lit_within_a_few_steps(batch_norm: bool) -> None:
    network = model("cnn", (1, 32, 32), 4, width=8, dropout=0.0, batch_norm=batch_norm)
    optimiser = torch.optim.Adam(network.parameters(), 1e-3 if batch_norm else 3e-3)
    genre = torch.arange(32) % 4
    x = 0.3 * random(32, (1, 32, 32))
    for i, g in enumerate(genre):
        x[i, 0, 8 * g + 2 : 8 * g + 6] += 1.0
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(x), genre).backward()
        optimiser.step()
    assert (network.eval()(x).argmax(dim=1) == genre).float().mean() > 0.9
