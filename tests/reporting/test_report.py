"""A comparison as a file: its numbers are the store's, its names are never markup."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import command, genrecore, refused
from fake_runs import draw_right, fake_run
from markdown_it import MarkdownIt
from opened import open_page

from genrecore.errors import GenrecoreError
from genrecore.evaluation import comparison, metrics, systems
from genrecore.evaluation.scores import run_scores
from genrecore.reporting import html as report
from genrecore.reporting.columns import Column, written
from genrecore.reporting.html.table import ReportTable, latex, markdown
from genrecore.reporting.html.tables import public
from genrecore.store.run import Run

NASTY = {
    "blues": "<script>window.stolen = 1</script>",
    "jazz": 'R&B | "soul", 50 % \\ $x_1^2$ #{~}',
    "rock": "</script><img src=x onerror='window.stolen = 1'> 民謡",
}
"""Names as a folder of one's own music may have them."""


def called(run: Run, names: dict[str, str]) -> Run:
    """The same run on genres of other names."""
    for file in ("predictions.parquet", "clips.parquet"):
        table = pd.read_parquet(run.folder / file)
        table["genre"] = table["genre"].map(names)
        table = table.rename(columns={f"p_{old}": f"p_{new}" for old, new in names.items()})
        table.to_parquet(run.folder / file, index=False)
    return Run(run.folder)


def watched(run: Run, n_epochs: int = 3) -> Run:
    """The same run with a history, an audit and an environment."""
    lines = [
        {"epoch": k + 1, "train_loss": 2.0 / (k + 1), "train_accuracy": 0.3, "valid_loss": 2.0,
         "valid_accuracy": 0.2 + k / 10, "lr": 1e-3, "seconds": 1.5}
        for k in range(n_epochs)
    ]  # fmt: skip
    (run.folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    audit = {"refused": True, "reason": "It <b>leaks</b> & how.", "n_crossing_test_clips": 4}
    (run.folder / "audit.json").write_text(json.dumps(audit))
    versions = {"device_name": "CPU", "host": "secret-host", "versions": {"torch": "2.11.0"}}
    (run.folder / "environment.json").write_text(json.dumps(versions))
    return Run(run.folder)


def nasty_runs(store: Path, n: int = 2) -> list[Run]:
    artists = np.arange(120) // 4
    runs = [fake_run(store, draw_right(0.8 - k / 10, 120, k), artists, seed=k) for k in range(n)]
    return [watched(called(run, NASTY)) for run in runs]


class PageParser(HTMLParser):
    """Everything that an HTML file could fetch or run, and its texts."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "srcset", "action", "data"):
                self.addresses.append(str(value))
            if name.startswith("on"):
                self.handlers.append(name)


def test_a_report_asks_nobody_for_anything_and_runs_no_name(store: Path, tmp_path: Path) -> None:
    path = report.write(nasty_runs(store), tmp_path / "deep" / "out.html")
    text = path.read_text(encoding="utf-8")
    parser = PageParser()
    parser.feed(text)
    assert all(address.startswith("#") for address in parser.addresses)
    assert len(parser.addresses) >= 10
    assert parser.handlers == []
    assert "img" not in parser.tags
    assert parser.tags.count("script") == 4  # data, templates, plotly.js, ours
    assert "secret-host" not in text
    assert len(text.encode()) < 8e6


def test_tables_read_back_as_what_the_store_holds(store: Path, tmp_path: Path) -> None:
    runs = nasty_runs(store, 3)
    compared = comparison.compare(runs)
    written = report.write_tables(compared, tmp_path / "tables")
    assert {path.suffix for path in written} == {".csv", ".md", ".tex"}
    frames = {path.stem: pd.read_csv(path) for path in written if path.suffix == ".csv"}
    for run, (_, row) in zip(runs, frames["scores"].iterrows(), strict=True):
        assert row["accuracy"] == run_scores(run)["accuracy"]
        assert row["accuracy_low"] == run_scores(run)["accuracy_low"]
        counts = frames[f"confusion-{run.run_id}"]
        expected = metrics.confusion(run.predictions, list(NASTY.values()))
        assert counts.iloc[:, 0].tolist() == list(NASTY.values()) == list(counts.columns[1:])
        assert counts.iloc[:, 1:].to_numpy().tolist() == expected.to_numpy().tolist()
    assert frames["pairs"]["p_holm"].tolist() == compared.pairs["p_holm"].tolist()
    assert frames["pairs"]["sentence"].tolist() == compared.pairs["sentence"].tolist()
    assert frames["genres"]["genre"].tolist() == list(NASTY.values()) * 3
    assert frames["genres"]["recall"].tolist() == compared.per_genre["recall"].tolist()
    assert frames["settings"]["Setting"].tolist() == ["seed"]
    assert len(frames["curves"]) == 3 * 3 * 2
    assert frames["protocol"]["n_test"].tolist() == [120] * 3
    assert frames["environment"].set_index("What")["All runs"]["torch"] == "2.11.0"


def test_markdown_tables_say_what_their_cells_say(store: Path) -> None:
    reader = MarkdownIt("commonmark").enable("table")
    for table in report.tables(comparison.compare(nasty_runs(store))):
        tokens = reader.parse(table.markdown)
        cells = [
            "".join(part.content for part in (tokens[k + 1].children or []))
            for k, token in enumerate(tokens)
            if token.type in ("td_open", "th_open")
        ]
        texts = [[column.title for column in table.heads], *table.cells]
        assert cells == [" ".join(text.split()) for row in texts for text in row]
        kinds = {part.type for token in tokens for part in token.children or []}
        assert kinds <= {"text", "text_special", "strong_open", "strong_close"}


def test_latex_takes_every_sign_as_itself() -> None:
    signs = "".join(chr(k) for k in range(32, 127))
    escaped = latex(signs)
    for sign in "#$%&_{}":
        assert f"\\{sign}" in escaped
    commands = r"\\text(backslash|asciitilde|asciicircum|less|greater|bar)\{\}|\\[#$%&_{}]|\{[*[]\}"
    assert not set(re.sub(commands, "", escaped)) & set('\\#$%&_{}~^<>|"')
    assert re.sub(commands, "", escaped).startswith(" !'''()+,-./0")
    assert latex("−0.9 · 81.3 %") == r"$-$0.9 \textperiodcentered{} 81.3\,\%"
    assert latex("a\nb") == "a b"
    assert latex("Français 民謡") == "Français 民謡"


def test_a_latex_table_has_as_many_cells_as_columns(store: Path) -> None:
    for table in report.tables(comparison.compare(nasty_runs(store))):
        assert table.latex.startswith("\\begin{table}\n\\centering\n")
        body = table.latex.split("\\hline\n")
        lines = [*body[1].splitlines(), *body[2].splitlines()]
        assert len(lines) == len(table.frame) + 1
        for line in lines:
            assert len(re.findall(r"(?<!\\)&", line)) == len(table.columns) - 1
            assert line.endswith(r" \\")
        opened, closed = (len(re.findall(rf"(?<!\\)\{sign}", table.latex)) for sign in "{}")
        assert opened == closed


def test_cells_are_written_for_people() -> None:
    assert written(0.8125, "share") == "81.3 %"  # halves go up
    assert written(-0.009, "points") == "−0.9"
    assert written(0.051, "size") == "5.1"
    assert written(11_175_370, "count") == "11,175,370"
    assert written(81.5, "count") == "81.5"  # of systems a mean
    assert written(3e-7, "p") == "< 0.0001"
    assert (written(59, "seconds"), written(3720, "seconds")) == ("59 s", "1 h 02 min")
    assert written(float("nan"), "share") == written(None, "text") == "–"
    assert markdown("") == " "
    interval = Column("from", "points", upper="high")
    frame = pd.DataFrame({"low": [-0.01, np.nan], "high": [0.072, np.nan]})
    assert ReportTable("t", "T", frame, {"low": interval}).cells == [["−1.0 to +7.2"], ["–"]]


@pytest.mark.slow
def test_counts_are_written_as_counts_in_the_table_of_every_figure(store: Path) -> None:
    artists = np.arange(90) // 2
    runs = [
        fake_run(store, draw_right(0.8 - 0.2 * k, 90, 9 * k + seed), artists, seed=seed, model=name)
        for k, name in enumerate(["cnn", "crnn"])
        for seed in range(2)
    ]
    of_systems = systems.compare(systems.group_runs(runs))
    measures = r"p|p for all genres|Effect.*|F1|Certainty|.*\(s\)|.*\(ms\)"
    for compared in (comparison.compare(runs[1:3]), of_systems):
        numbers = re.findall(r"<figure.*?</figure>", report.html(compared), re.DOTALL)
        names = [re.findall(r"<th[^>]*>(.*?)</th>", figure) for figure in numbers]
        assert any("Clips" in heads for heads in names)
        assert any("On the front" in heads for heads in names)
        for figure, heads in zip(numbers, names, strict=True):
            cells = re.findall(r"<td[^>]*>(.*?)</td>", figure)
            for k, cell in enumerate(cells):
                if re.fullmatch(r"[\d,]+\.000", cell):
                    assert re.fullmatch(measures, heads[k % len(heads)]), (heads, cell)


def test_no_folder_of_this_machine_is_told(store: Path) -> None:
    values = {"dataset": "folder", "dataset.folder": "/home/somebody/my music"}
    runs = [fake_run(store, draw_right(0.7, 60, k), seed=k, **values) for k in range(2)]
    text = report.html(comparison.compare(runs))
    assert "somebody" not in text
    assert "…/my music" in text
    assert public(runs[0].config).dataset.options["folder"] == "…/my music"


def test_systems_are_reported_over_their_seeds(store: Path) -> None:
    for k in range(6):
        fake_run(store, draw_right(0.5 + 0.05 * (k % 2), 90, k), seed=k // 2,
             **{"training.lr": 0.1 / (1 + k % 2)})  # fmt: skip
    from genrecore.store import runs

    compared = systems.compare(systems.group_runs(runs.all_runs()))
    text = report.html(compared)
    assert "CR2" in text
    assert "2 systems on" in text
    by_name = {table.name: table for table in report.tables(compared)}
    assert by_name["scores"].frame["n_runs"].tolist() == [3, 3]
    assert len(by_name["protocol"].frame) == 6
    assert by_name["settings"].frame["Setting"].tolist() == ["training.lr"]


@pytest.mark.slow
def test_what_is_missing_or_differs_is_said_and_nothing_breaks(store: Path) -> None:
    a = fake_run(store, draw_right(0.6, 90, 1))
    b = watched(fake_run(store, draw_right(0.6, 90, 2), first=60, seed=1))
    c = called(fake_run(store, draw_right(0.6, 90, 3), first=1000, seed=2), NASTY)
    table = pd.read_parquet(a.folder / "predictions.parquet")
    table.loc[:3, ["p_blues", "p_jazz", "p_rock"]] = np.nan
    table.to_parquet(a.folder / "predictions.parquet", index=False)
    (b.folder / "clips.parquet").unlink()
    compared = comparison.compare([Run(a.folder), b, c])
    text = report.html(compared, title="A & B <i>")
    assert "<h1>A &amp; B &lt;i&gt;</h1>" in text
    for note in compared.notes:
        assert re.sub(r"[<>&\"'].*", "", note) in text  # up to what is escaped
    names = {figure.name for figure in report.figures(compared)}
    assert {"scores", "pairs", "genres", "calibration", "risk-coverage", "curves-loss"} <= names
    assert {"areas", "scores"} <= {table.name for table in report.tables(compared)}
    assert not any(name.startswith("agreement") for name in names)  # no pair was compared
    by_name = {table.name: table for table in report.tables(compared)}
    assert [row[2:8] for row in by_name["pairs"].cells][1:] == [["0", *"–––––"]] * 2


@pytest.mark.slow
def test_many_runs_get_fewer_figures(store: Path) -> None:
    many = [fake_run(store, draw_right(0.5 + k / 30, 30, k), seed=k) for k in range(7)]
    compared = comparison.compare(many)
    names = [figure.name for figure in report.figures(compared)]
    assert len(names) == len(set(names)) < 10
    best = compared.titles[str(compared.table.loc[compared.table["accuracy"].idxmax(), "run_id"])]
    assert f"{best} is the most accurate" in report.html(compared)


@pytest.mark.slow
def test_what_cannot_be_written_is_one_sentence(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [fake_run(store, draw_right(0.7, 30, k), seed=k) for k in range(2)]
    with pytest.raises(GenrecoreError, match="at least two runs"):
        report.write(runs[:1], tmp_path / "out.html")
    (tmp_path / "file").write_text("")
    with pytest.raises(GenrecoreError, match="The report cannot be written"):
        report.write(runs, tmp_path / "file" / "out.html")
    with pytest.raises(GenrecoreError, match="cannot be written to"):
        report.write(runs, tmp_path)
    compared = comparison.compare(runs)
    with pytest.raises(GenrecoreError, match="cannot take the tables"):
        report.write_tables(compared, tmp_path / "file")
    with pytest.raises(GenrecoreError, match="cannot take the figures"):
        report.write_figures(compared, tmp_path / "file")
    monkeypatch.setenv("BROWSER_PATH", "/nothing/chromium")
    with pytest.raises(GenrecoreError, match="apt-get install"):
        report.write_figures(compared, tmp_path / "figures")
    assert list((tmp_path / "figures").iterdir()) == []


@pytest.mark.slow
def test_the_command_writes_what_it_compares(store: Path, tmp_path: Path) -> None:
    a, b = nasty_runs(store)
    report_to, tables_to = tmp_path / "out.html", tmp_path / "tables"
    arguments = ("compare", a.run_id, b.run_id, "--band", "2")
    printed = command(*arguments, "--report", str(report_to), "--tables", str(tables_to))
    assert f"Report: {report_to}" in printed
    assert f"genrecore compare {a.run_id} {b.run_id} --band 2" in report_to.read_text()
    assert "(±2.0 points)" in report_to.read_text()
    assert (tables_to / "pairs.tex").exists()
    output = json.loads(command(*arguments, "--tables", str(tables_to), "--json"))
    assert str(tables_to / "scores.csv") in output["written"]
    refused(genrecore(*arguments, "--report", str(tmp_path)), 1, "cannot be written")


def test_the_page_hands_out_report_and_tables(store: Path) -> None:
    a, b = (fake_run(store, draw_right(0.7, 60, k), seed=k) for k in range(2))
    app = open_page("compare", runs=f"{a.run_id},{b.run_id}")
    labels = [button.proto.label for button in app.get("download_button")]
    assert labels == ["Report", "Tables"]


@pytest.mark.slow
def test_the_report_says_how_many_runs_of_the_store_cannot_be_read(
    store: Path, tmp_path: Path
) -> None:
    runs = nasty_runs(store)
    assert "could not be read" not in report.write(runs, tmp_path / "r.html").read_text()
    broken = store / "20260101-000000-demo-cnn-bad0"
    broken.mkdir()
    (broken / "config.json").write_text("{")
    text = report.write(runs, tmp_path / "r.html").read_text()
    assert "1 run of the store could not be read and is left out." in text
