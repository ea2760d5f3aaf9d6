"""The studies' recipes: every value has its mark, every number stands in the text, rows build."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import ROOT

from genrecore.config import run as configuration
from genrecore.config.run import RunConfig
from genrecore.data.splits import SPLITS
from genrecore.errors import GenrecoreError, UsageError
from genrecore.experiments import papers
from genrecore.experiments.papers import Music, Study, recipes
from genrecore.experiments.papers.printed import SHARES, number
from genrecore.experiments.papers.study import PrintedFigure, StudyRow
from genrecore.features import PRESETS
from genrecore.models import MODELS
from genrecore.store.runs import create_run
from genrecore.training.classifier import Classifier
from genrecore.training.parts import ResolvedConfig

STUDIES = papers.studies()
HEADING = re.compile(r"^#*\s*([1-9](?:\.\d+)*|[IVX]+)\.?\s+[A-Z]")


@pytest.fixture(scope="session")
def study_texts() -> Path:
    """The folder of the studies' texts, or a skip with one line."""
    data = os.environ.get("GENRECORE_TEST_DATA")
    folder = (Path(data).parent if data else ROOT.parent / "shared") / "papers"
    if not folder.is_dir():
        pytest.skip("no studies' texts here; they lie in a folder papers beside the real data")
    return folder


def sections(text: str) -> dict[str, str]:
    """The text of each section by its number, subsections included; `abstract` is what is before
    the first one."""
    by_section: dict[str, str] = {"abstract": ""}
    now = "abstract"
    for line in text.splitlines():
        heading = HEADING.match(line)
        if heading:
            now = heading[1]
        elif re.match(r"^#*\s*References\s*$", line.replace("*", ""), re.IGNORECASE):
            now = "references"
        parts = now.split(".")
        for depth in range(1, len(parts) + 1):
            key = ".".join(parts[:depth])
            by_section[key] = by_section.get(key, "") + line + "\n"
    return by_section


def texts_of(study: Study) -> list[tuple[str, str]]:
    """(section, text) of everything that the recipe quotes literally."""
    marked = [*study.settings, *study.rows, *study.choices]
    quotations = [(entry.stated, entry.words) for entry in marked if entry.stated]
    quotations += [(number.section, number.words) for number in (*study.sentences, *study.numbers)]
    quotations += [
        (printed.section, printed.caption) for printed in (*study.tables, *study.figures)
    ]
    remarks = [*study.disagreements, *study.critique, *study.figures]
    for remark in remarks:
        places = remark.said if isinstance(remark, PrintedFigure) else remark.places
        quotations += [(quoted.section, quoted.words) for quoted in places]
    quotations += [(table.section, line.words) for table in study.tables for line in table.lines]
    return quotations


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_every_number_and_every_quotation_stands_in_the_section_named(
    study: Study, study_texts: Path
) -> None:
    by_section = sections((study_texts / study.text).read_text(encoding="utf-8"))
    for section, quotation in texts_of(study):
        assert section in by_section, f"{study.name} has no section {section}"
        assert quotation in by_section[section], f"{quotation!r} is not in section {section}"
    for remark in study.critique:
        assert remark.section in by_section, remark.text


NOT_RESULTS = {
    # In these sections stand others' results, the input, or the recipe.
    "hong": ("1", "2", "references"),
    "belton": ("1", "2", "3", "references"),
    "qin": ("1", "2", "references"),
    "liu": ("1", "2", "references"),
    "benito": ("I", "II", "references"),
}
RESULT = re.compile(r"\d+(?:\.\d+)?%|\b0\.\d+\b")


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_no_printed_share_is_left_out(study: Study, study_texts: Path) -> None:
    by_section = sections((study_texts / study.text).read_text(encoding="utf-8"))
    recorded = "\n".join(quotation for _, quotation in texts_of(study))
    for section, text in by_section.items():
        if (
            section in NOT_RESULTS[study.name]
            or section.partition(".")[0] in NOT_RESULTS[study.name]
        ):
            continue
        for line in text.splitlines():
            for share in RESULT.findall(line):
                assert share in recorded, f"{share} of section {section} is not recorded: {line}"


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_every_value_has_exactly_one_mark(study: Study) -> None:
    for entry in (*study.settings, *study.rows, *study.choices):
        mark = entry.mark
        assert mark.startswith(
            (
                "stated in section ",
                "printed in Figure ",
                "from the cited source ",
                "from the linked code: ",
                "our choice because ",
            )
        )
    titles = list(study.systems.values())
    assert len(set(titles)) == len(titles)
    for printed in study.numbers:
        if printed.measure and not printed.missing:
            assert printed.value > 0, printed.words
            if printed.measure in SHARES:
                assert printed.value <= 1, printed.words


def test_what_no_text_prints_is_nowhere_reconstructed() -> None:
    for study in STUDIES:
        drawn_figures = {figure.place for figure in study.figures if figure.draws}
        assert all(figure.not_printed for figure in study.figures), study.name
        assert drawn_figures.isdisjoint({table.place for table in study.tables})
    liu = papers.study("liu")
    adam_only = {"cnn_sgd", "dcnn_rmsprop", "crnn_adadelta"}
    assert not any(number.system in adam_only for number in liu.numbers)
    empty = [number for number in papers.study("benito").numbers if number.missing]
    assert [number.printed for number in empty] == ["0.00", "0.00"]
    assert all(number.value != number.value and number.shown == "not reported" for number in empty)


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_every_row_is_a_configuration_whose_network_takes_what_the_study_prints(
    study: Study,
) -> None:
    genres = [f"genre {k}" for k in range(10 if study.dataset == "gtzan" else 8)]
    built: dict[str, object] = {}
    for run in papers.study_runs(study, protocols=["published"]):  # refuses what does not build
        row, config = study.row(run.row), run.config
        check_values(study, row, config, "published")
        assert config.dataset.name == study.dataset
        assert config.allow_leaks == (study.name != "liu")
        assert (config.standardise_on == "all") == (study.name == "qin")
        assert config.rehearsal == 0
        if row.group not in built:
            with torch.device("meta"):
                resolved = ResolvedConfig(config)
                classifier = Classifier(resolved, genres, resolved.typical_shape, pretrained=False)
            built[row.group] = classifier.feature.output_shape
        preset = PRESETS[study.groups[row.group].preset]
        assert built[row.group] == preset.facts.shape
        assert _tuples(study.groups[row.group].shape) in ((), built[row.group])


def _tuples(shape: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(tuple(item) if isinstance(item, list) else item for item in shape)


def check_values(study: Study, row: StudyRow, config: RunConfig, protocol: str) -> None:
    """What is marked is what is trained."""
    expected_values: dict[str, object] = {}
    for setting in study.settings_of(row.group, protocol):
        expected_values.update(setting.values)
    expected_values.update(row.values)
    for dotted, value in expected_values.items():
        first, _, name = dotted.partition(".")
        if first in ("training", "segments"):
            assert getattr(getattr(config, first), name) == value, (row.name, dotted)
        elif first == "model" and name:
            options = config.model.choose_from(MODELS).options
            assert getattr(options, name) == value, (row.name, dotted)
        elif first == "split" and name:
            options = config.split.choose_from(SPLITS).options
            assert getattr(options, name) == value, (row.name, dotted)
        elif first in ("model", "split", "standardise"):
            assert getattr(config, first).name == value, (row.name, dotted)


@pytest.mark.slow
def test_lius_recipe_speaks_of_every_value_also_of_those_at_their_defaults() -> None:
    liu = papers.study("liu")
    of_no_recipe = re.compile(
        r"dataset\..*|genres\..*|fold|split_seed|allow_leaks|training\.(precision|compile|determ.*)"
        r"|audio\.accept_damaged|clips_per_genre"
    )
    only_for_others = {"training.warmup_epochs", "training.plateau_patience", "training.lr_low",
                       "training.plateau_factor", "training.cycle_epochs"}  # fmt: skip
    for row in liu.rows:
        for protocol in papers.PROTOCOLS:
            values = papers.marked_values(liu, row.name, protocol)
            silent = {value.field for value in values if "it is the default here" in value.mark}
            left = {key for key in silent - only_for_others if not of_no_recipe.fullmatch(key)}
            assert left <= {"training.momentum"} - ({"training.momentum"} & row.values.keys()), row


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_an_honest_run_keeps_artists_apart_and_lets_validation_choose(study: Study) -> None:
    first_of_groups = {row.group: row.name for row in study.rows}.values()
    for run in papers.study_runs(study, first_of_groups, ["honest"]):
        check_values(study, study.row(run.row), run.config, "honest")
        assert not run.config.allow_leaks
        assert run.config.standardise_on == "train"
        assert run.config.split.name == (
            "fault_filtered" if study.dataset == "gtzan" else "official"
        )
        assert run.config.training.choose_epoch == "best"


def test_seeds_draw_the_split_anew_only_where_the_study_does_not_say_it() -> None:
    for study in STUDIES:
        for protocol in papers.PROTOCOLS:
            runs = papers.study_runs(study, [study.rows[0].name], [protocol], 3)
            assert [run.config.seed for run in runs] == [0, 1, 2]
            is_redrawn = protocol == "published" and study.name in ("qin", "hong")
            expected = [0, 1, 2] if is_redrawn else [0, 0, 0]
            assert [run.config.split_seed for run in runs] == expected, (study.name, protocol)


def test_a_choice_stands_for_the_rows_it_chooses_among() -> None:
    qin = papers.study("qin")
    runs = papers.study_runs(qin, ["mlp_best", "mlp_1e-5"], ["honest"], 2)
    assert [run.row for run in runs] == list(qin.rows_of("mlp_best")) * 2
    with pytest.raises(UsageError, match="no row 'mlp_2e-5' in qin"):
        papers.study_runs(qin, ["mlp_2e-5"])
    with pytest.raises(UsageError, match="no study 'smith'; there are: belton"):
        papers.study("smith")
    with pytest.raises(UsageError, match="share above 0"):
        papers.config_of(qin, "lstm_64", "published", music=Music(scale=0.0))
    with pytest.raises(UsageError, match="needs a dataset with the form table_30s"):
        papers.config_of(qin, "mlp_1e-5", "published", music=Music(dataset="fma_small"))


@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_a_rehearsal_is_less_of_everything_and_says_so(study: Study) -> None:
    first_of_groups = {row.group: row.name for row in study.rows}.values()

    def configs(protocol: str, music: Music | None) -> list[RunConfig]:
        return [
            run.config for run in papers.study_runs(study, first_of_groups, [protocol], 1, music)
        ]

    wholes = configs("published", None)
    shrunk = configs("published", Music(scale=0.1))
    on_demo = configs("honest", Music("demo", {}, 0.1))
    for whole, less, demo in zip(wholes, shrunk, on_demo, strict=True):
        assert less.rehearsal == max(10, study.clips_a_genre // 10)
        assert less.training.epochs == max(1, round(0.1 * whole.training.epochs))
        assert less.audio.clip_s <= whole.audio.clip_s
        assert "pretrained" not in less.model.options  # nothing is fetched
        assert less.model.name == whole.model.name == demo.model.name
        assert demo.dataset.name == "demo"
        assert demo.rehearsal == demo.dataset.options["n_clips"] == 10
        assert demo.split.name == "by_artist"
        assert configuration.signature(less) != configuration.signature(whole)


def test_a_printed_number_is_read_as_it_is_meant() -> None:
    read = number
    assert read("<b>87.5%</b>") == 0.875
    assert read("$\\approx 138.5m$") == 138.5e6
    assert read("~300,000") == 300_000
    assert read("<2") == 2
    assert read("0.6984924623115578") == pytest.approx(139 / 199)
    with pytest.raises(GenrecoreError, match="not a number"):
        read("Relatively high")


def test_qins_first_table_is_not_of_the_file_that_it_names(real_data: Path) -> None:
    table = pd.read_csv(real_data / "gtzan" / "features_30_sec.csv")
    first = table.loc[0, ["chroma_stft_mean", "chroma_stft_var"]].astype(float)
    assert first.round(4).to_list() == [0.3501, 0.0888]
    (printed,) = (table for table in papers.study("qin").tables if table.place == "Table 1")
    assert printed.lines[0].words.split("\t")[1:] == ["0.3354", "0.0910"]


def test_a_file_that_says_nonsense_is_refused_with_the_place() -> None:
    data = papers.study("qin").model_dump()
    data["rows"] = [row for row in data["rows"] if row["name"] != "lstm_128"]
    with pytest.raises(ValueError, match="no row, choice or group 'lstm_128'"):
        Study.model_validate(data)
    data = papers.study("qin").model_dump()
    data["settings"][0]["ours"] = "of both"
    with pytest.raises(ValueError, match="exactly one of stated, cited, figure, code and ours"):
        Study.model_validate(data)
    data = papers.study("belton").model_dump()
    data["sweeps"][0]["rows"] = [["mlp_32_b32", "mlp_100_b8"]]
    with pytest.raises(ValueError, match="belton_mlp: mlp_32_b32, … are not a full product"):
        Study.model_validate(data)


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_no_value_that_a_recipe_or_its_preset_sets_is_without_a_mark(study: Study) -> None:
    for row in study.rows:
        for protocol in papers.PROTOCOLS:
            without = [
                key for key, mark in recipes.marks(study, row.name, protocol).items() if not mark
            ]
            assert not without, (row.name, protocol)


def test_every_value_of_a_resolved_configuration_is_listed_with_its_mark() -> None:
    hong = papers.study("hong")
    values = {v.field: v for v in recipes.marked_values(hong, "alexnet_no_lrn", "published")}
    config = papers.config_of(hong, "alexnet_no_lrn", "published")
    for key, value in configuration.differences(config).items():
        key = key.replace(".options.", ".").removesuffix(".name")
        assert key in ("augment", "seed") or values[key].value == value, key
    assert all(value.mark for value in values.values())
    assert values["model.local_response"].value is False
    assert values["model.local_response"].mark.startswith("our choice because section 4.2")
    assert values["standardise"].mark == "stated in section 4.2"
    assert values["feature.n_fft"].value == 2048
    assert values["feature.n_fft"].mark.startswith("our choice because the study prints none")
    assert values["training.label_smoothing"].mark.endswith("it is the default here")
    assert values["augment.rotation.range_degrees"].mark.startswith("our choice because")


def test_a_run_that_cannot_be_read_does_not_stand_for_a_row(store: Path, tmp_path: Path) -> None:
    study = papers.study("qin")
    music = Music("", {"folder": str(tmp_path / "not there")})
    rows = papers.study_runs(study, [study.rows[0].name], ["honest"], 1, music)
    run = create_run(rows[0].config, store)
    assert papers.trainable(rows, store) == (rows, [])  # it would fail, but is there already
    (run.folder / "history.jsonl").write_text("{\n")
    with pytest.raises(UsageError, match="None of these runs can be trained"):
        papers.trainable(rows, store)
