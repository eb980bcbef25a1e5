import json
import math
import re

import pytest
from PIL import Image

from src.compare import main
from src.comparison.group import Group
from src.comparison.loss_text import GIVE_PROBABILITIES, LOSSES
from src.comparison.overview import write_comparison
from src.comparison.runs import find_runs
from src.comparison.sheet import _rows
from src.comparison.tables import count, duration, fixed, significant
from src.pictures import figures
from src.scoring.passport import Passport
from src.scoring.report import Row, as_json
from src.train import compare_sweep
from src.training import losses
from tests.comparison.test_group import CLASSIFIER


@pytest.fixture(autouse=True)
def small_figures(monkeypatch):
    monkeypatch.setattr(figures, "DPI", 40)  # a fifth of the pixels a side: quicker


@pytest.fixture
def page_of(tmp_path):
    """Writes the comparison of everything below tmp_path/runs and returns the page's text."""
    return lambda: write_comparison(find_runs([tmp_path / "runs"]), tmp_path / "out").read_text(encoding="utf-8")


def tables(page):
    return re.findall(r'<table class="values">.*?</table>', page, re.DOTALL)


def cells(row):
    return [re.sub("<.*?>", "", cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row)]


def test_the_page_needs_no_other_file_and_no_network(make_run, page_of):
    make_run("a")
    page = page_of()
    links = re.findall(r"""(?:src|href|srcset)\s*=\s*["']?([^"'>\s]{0,40})|url\(([^)]*)\)|@import""", page)
    assert links
    assert all(link.startswith("data:image/png;base64,") for link, _ in links)
    assert "<script" not in page


def test_a_picture_of_the_comparison_lies_beside_the_page(make_run, page_of, tmp_path):
    make_run("a")
    page_of()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["compare.html", "compare.png"]
    assert Image.open(tmp_path / "out" / "compare.png").format == "PNG"


def test_a_failed_run_is_listed_with_its_reason(make_run, page_of):
    make_run("good")
    make_run("bad", lr="3e-4", status={"state": "failed", "reason": "loss_g is not a number"})
    section = page_of().split("Runs that did not finish")[1]
    assert "dcgan · lr 3e-4" in section
    assert "loss_g is not a number" in section


def test_a_damaged_run_is_listed_and_the_others_are_compared(make_run, page_of):
    make_run("good")
    make_run("bad", files={"status.json": "{"})
    page = page_of()
    assert "status.json cannot be read" in page.split("Runs that did not finish")[1]
    assert len(tables(page)) == 1


def test_the_page_works_when_all_runs_failed_before_their_first_row(make_run, page_of):
    nothing = {"summary.json": None, "metrics.csv": None}
    make_run("a", status={"state": "failed", "reason": "no space left"}, samples=(), rows=0, files=nothing)
    page = page_of()
    assert "no space left" in page
    assert not tables(page)


def test_what_a_run_says_is_escaped(make_run, page_of):
    make_run("a", status={"state": "failed", "reason": "<script>alert('x')</script> & more", "warnings": ["1 < 2"]})
    page = page_of()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "1 &lt; 2" in page


def test_special_characters_in_names_reach_both_files(make_run, page_of):
    make_run("a", model='"$\\\\frac$ <b>"')
    assert "&lt;b&gt;" in page_of()


def test_runs_of_two_data_sets_are_not_in_one_table(make_run, page_of):
    make_run("a", model="first", data="cifar10")
    make_run("b", model="second", data="cells")
    found = tables(page_of())
    assert [("first" in table, "second" in table) for table in found] == [(False, True), (True, False)]


def test_further_scores_get_their_columns_and_a_missing_one_a_dash(make_run, page_of):
    make_run("a", scores={"fid": 12.345678})
    make_run("b", model="enhanced", scores={"mode_score": 4.5})
    head, *rows = (cells(row) for row in re.findall("<tr>.*?</tr>", tables(page_of())[0], re.DOTALL))
    shown = [dict(zip(head, row, strict=True)) for row in rows]
    assert [(row["fid"], row["mode_score"]) for row in shown] == [("12.35", "–"), ("–", "4.500")]
    assert (shown[0]["images shown"], shown[0]["loss D"], shown[0]["time"]) == ("2,000", "1.375", "1 h 02 min")


def test_runs_that_differ_in_their_seed_alone_are_averaged_with_an_interval(make_run, page_of):
    for name, lr, seed, fid in (("a", "2e-4", 0, 10), ("b", "2e-4", 1, 12), ("c", "2e-4", 2, 17), ("d", "3e-4", 0, 9)):
        make_run(name, lr=lr, seed=seed, scores={"fid": fid})
    make_run("e", seed=3, scores={"fid": 99}, status={"state": "interrupted"})
    final, over_seeds = tables(page_of())
    head, *rows = (cells(row) for row in re.findall("<tr>.*?</tr>", over_seeds, re.DOTALL))
    (row,) = (dict(zip(head, row, strict=True)) for row in rows)
    assert (row["model"], row["lr"], row["seeds"]) == ("dcgan", "2e-4", "3")
    mean, half = 13, 4.302653 * (13 / 3) ** 0.5  # Student's t with two degrees of freedom; the mean's standard error
    assert row["fid"] == f"{mean}.00 ± {half:.3f}"
    assert final.count("<tr>") == 6


def test_names_and_what_is_written_keep_no_run_from_those_of_other_seeds(make_run, page_of):
    make_run("a", seed=0, overrides=("name=a", "every.log=500", "progress=false", "hydra/launcher=joblib"))
    make_run("b", seed=1, overrides=("name=b", "+logger.more=1", "scores.best=kid", "paths.outputs=elsewhere"))
    _, over_seeds = tables(page_of())
    head, row = (cells(row) for row in re.findall("<tr>.*?</tr>", over_seeds, re.DOTALL))
    assert (head[:3], row[:3]) == (["model", "lr", "seeds"], ["dcgan", "2e-4", "2"])


def test_means_over_seeds_say_which_seeds_have_no_value_and_drop_no_infinite_one(make_run, page_of):
    scores: list[dict] = [{"fid": 1.0, "am_score": 2.0}, {"fid": 3.0, "am_score": math.inf}, {"kid": 5.0}]
    for seed, own in enumerate(scores):
        make_run(f"s{seed}", seed=seed, scores=own)
    _, over_seeds = tables(page_of())
    row = dict(zip(*(cells(row) for row in re.findall("<tr>.*?</tr>", over_seeds, re.DOTALL)), strict=True))
    assert row["seeds"] == "3" and row["loss D"].startswith("1.375 ± 0")
    assert row["fid"] == "2.000 ± 12.71 (2 of 3)"  # t of one degree of freedom, 12.706, times √2 / √2
    assert (row["am_score"], row["kid"]) == ("not finite in 1 of 3", "5.000 (1 of 3)")


def test_without_two_seeds_there_is_no_table_over_seeds(make_run, page_of):
    make_run("a", seed=0)
    make_run("b", seed=1, overrides=("model.width=8",))
    assert "Over seeds" not in page_of()


@pytest.mark.parametrize(("seeds", "shown"), [((0, 0), True), ((0, 1), False)])
def test_scores_with_unlike_passports_are_left_out_with_the_reason(make_run, page_of, seeds, shown):
    for name, seed in zip("ab", seeds, strict=True):
        passport = Passport(10, 10, "d", "f", "train", "s", "n", 10, 0.9, 0.9, 32, seed, 10, 11, True, 1000, "1")
        text = json.dumps(as_json([Row(name, {"fid": 1.0}, {}, passport)]))
        make_run(name, scores={"fid": 12.3}, files={"scores.json": text})
    page = page_of()
    assert ("12.30" in page) == shown
    assert ("seed is 0 for the first and 1 for the second" in page) != shown


def test_the_table_says_each_run_s_loss_where_they_differ(make_run, page_of):
    make_run("a")
    assert "probabilities with binary cross-entropy, near 0.5" in page_of()
    assert '<th scope="col">loss</th>' not in page_of()
    make_run("b", model="enhanced", loss="Wasserstein")
    page = page_of()
    head, *rows = (cells(row)[:3] for row in re.findall("<tr>.*?</tr>", tables(page)[0], re.DOTALL))
    assert [head, *rows] == [
        ["model", "lr", "loss"],
        ["dcgan", "2e-4", "binary cross-entropy"],
        ["enhanced", "2e-4", "Wasserstein"],
    ]
    assert "their values cannot be compared" in page


def test_nobody_calls_a_critic_s_outputs_probabilities(make_run, page_of):
    make_run("a", loss="Wasserstein")
    page = page_of()
    assert "scores without bounds with Wasserstein" in page
    assert "probabilit" not in page


@pytest.mark.parametrize(("batch_size", "shown"), [(32, True), (128, False)])
def test_spreads_are_shown_only_of_runs_that_log_after_as_many_steps(make_run, page_of, batch_size, shown):
    make_run("a")
    make_run("b", model="enhanced", batch_size=batch_size)
    page = page_of()
    assert ("sd of loss D" in page) == ("sd: standard deviation" in page) == shown
    assert ("some runs log every 3.91 steps and some every 15.6" in page) != shown


def test_of_runs_that_are_not_adversarial_nothing_is_said_of_samples_and_discriminators(make_run, page_of):
    for seed in (0, 1):
        folder = make_run(f"{seed}", model="classifier", seed=seed, samples=(), files=CLASSIFIER)
        (folder / "samples" / "real.png").unlink()
    page = page_of()
    head, *rows = (cells(row) for row in re.findall("<tr>.*?</tr>", tables(page)[0], re.DOTALL))
    assert head == ["model", "lr", "seed", "images shown", "training loss", "accuracy", "state"]
    assert rows == [["classifier", "4e-1", seed, "1,000", "1.000", "0.5000", "done"] for seed in "01"]
    assert "Training loss" in page
    assert not [word for word in ("No run has", "samples of", "D(x)", "sd of", "iscriminator") if word in page]


def test_24_runs_are_all_shown(make_run, page_of):
    for i in range(24):
        make_run(f"run{i}", model=f"m{i // 4}", lr=f"{i % 4 + 1}e-4", samples=(0, 2000))
    page = page_of()
    assert page.count('alt="samples of') == 48
    assert len(re.findall("<tr>", tables(page)[0])) == 25


def test_of_very_many_runs_the_page_shows_the_last_samples_and_the_picture_one_run_of_each_configuration(
    make_run, page_of, tmp_path, monkeypatch
):
    monkeypatch.setattr("src.comparison.overview.CELLS", 6)
    monkeypatch.setattr("src.comparison.sheet.ROWS", 3)
    for i in range(8):
        make_run(f"run{i}", lr=f"{i % 2 + 1}e-4", seed=i // 2)
    page = page_of()
    assert page.count('alt="samples of') == page.count("after 2,000 images") == 8
    rows = _rows(Group("", find_runs([tmp_path / "runs"])))
    assert rows == [0, 4]  # of two learning rates, the first seed


def test_a_page_of_runs_that_know_how_alike_their_samples_are_computes_nothing_anew(make_run, page_of, monkeypatch):
    monkeypatch.setattr("src.pictures.similarity._compute", lambda content: 0.125)
    monkeypatch.setattr("src.pictures.similarity._known", {})
    known = {"final": {"loss_d": 1.0}, "images": 2000, "ssim": {"samples": 0.375, "real": None}}
    make_run("a", files={"summary.json": json.dumps(known)})
    make_run("b", model="older")
    head, *rows = (cells(row) for row in re.findall("<tr>.*?</tr>", tables(page_of())[0], re.DOTALL))
    shown = [dict(zip(head, row, strict=True)) for row in rows]
    assert [row["SSIM between samples"] for row in shown] == ["0.375", "0.125"]
    assert [row["between real"] for row in shown] == ["–", "0.125"]


def test_what_a_page_knows_of_losses_agrees_with_them():
    own = {name: kind for name, kind in vars(losses).items() if isinstance(kind, type) and kind.__module__ == LOSSES}
    assert {name for name, kind in own.items() if kind.gives_probabilities} == set(GIVE_PROBABILITIES)


def test_a_single_run_without_samples_and_with_one_row_is_shown(make_run, page_of):
    make_run("a", samples=(), rows=1)
    assert "No run has samples." in page_of()


def test_a_broken_sample_leaves_its_cell_empty(make_run, page_of):
    (make_run("a") / "samples" / "000001000.png").write_bytes(b"\x89PNG")
    assert page_of().count('alt="samples of') == 2


def test_the_command_of_a_run_can_be_pasted_into_a_shell(make_run, page_of):
    make_run("a", overrides=("model.stages=[1, 2]",))
    command = "python -m src.train model=dcgan optim.lr=2e-4 &#39;model.stages=[1, 2]&#39;"
    assert command in page_of()


def test_the_command_writes_into_the_folder_given(make_run, tmp_path, capsys):
    make_run("a")
    assert main([str(tmp_path / "runs")]) == 0
    assert str(tmp_path / "runs" / "compare.html") in capsys.readouterr().out
    assert (tmp_path / "runs" / "compare.png").is_file()


def test_a_sweep_that_left_no_runs_leaves_no_page(tmp_path):
    compare_sweep(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["", "nowhere"])
def test_the_command_says_in_one_line_that_there_are_no_runs(tmp_path, capsys, name):
    assert main([str(tmp_path / name)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_numbers_are_written_alike():
    assert [count(50000.0), count(None), fixed(-1.0), fixed(float("nan"))] == ["50,000", "–", "\u22121.000", "nan"]
    assert [significant(value) for value in (12.345678, 1234.5, 0.0, 1e-9)] == ["12.35", "1,234", "0", "1.000e\u221209"]
    assert [duration(seconds) for seconds in (42, 725, 11220, None)] == ["42 s", "12 min 05 s", "3 h 07 min", "–"]


def test_ctrl_c_ends_the_comparison_in_one_line(make_run, tmp_path, monkeypatch, capsys):
    make_run("a")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("src.comparison.overview.write_comparison", interrupted)
    assert main([str(tmp_path / "runs")]) == 130
    assert capsys.readouterr().err == "stopped: no page was written; repeat the command\n"
