import json

import numpy as np
import pytest

from src.comparison.runs import find_runs, format_lr, group_by_data, read_run, sample_points
from src.core.errors import UserError
from src.core.locks import Lock


def test_runs_are_found_below_a_folder_and_once_each(make_run, tmp_path):
    folder = make_run("sweep/a")
    make_run("b")
    make_run(".hidden/c")
    assert [run.folder.name for run in find_runs([tmp_path / "runs", folder])] == ["b", "a"]


def test_a_run_says_what_its_files_say(make_run):
    run = find_runs([make_run("a", model="enhanced", lr="3e-4")])[0]
    assert (run.model, run.lr, run.state) == ("enhanced", 3e-4, "done")
    assert run.metrics["loss_d"].tolist() == [1, 1.125, 1.25, 1.375]
    assert (list(run.samples), run.images, run.final["loss_g"]) == ([0, 1000, 2000], 2000, 1.625)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        find_runs([tmp_path / "nowhere"])


@pytest.mark.parametrize("file", ["config.yaml", "status.json", "summary.json", "overrides.json"])
def test_a_broken_file_becomes_the_reason_of_its_run(make_run, file):
    run = find_runs([make_run("a", files={file: '{"half": '})])[0]
    assert run.state == "damaged"
    assert file in run.reason


def test_a_file_of_another_kind_becomes_the_reason_of_its_run(make_run):
    assert "summary.json" in find_runs([make_run("a", files={"summary.json": "[1]"})])[0].reason


def test_a_half_written_last_row_of_metrics_leaves_the_others(make_run):
    run = find_runs([make_run("a", files={"metrics.csv": "images,loss_d\n500,1.5\n1000,", "summary.json": None})])[0]
    np.testing.assert_array_equal(run.metrics["loss_d"], [1.5, np.nan])
    assert run.final == {"images": 1000}


def test_the_summary_of_a_run_that_goes_on_says_nothing_of_it(make_run):
    """A run of 2,000 images was made longer and stopped at 2,500."""
    metrics = "images,loss_d\n2000,1.5\n2400,0.5"
    status = {"state": "interrupted", "images": 2500}
    run = find_runs([make_run("a", status=status, scores={"fid": 9}, files={"metrics.csv": metrics})])[0]
    assert (run.images, run.final, run.summary) == (2500, {"images": 2400, "loss_d": 0.5}, {})


@pytest.mark.parametrize("text", [None, "", "images,loss_d\n"])
def test_absent_or_empty_metrics_are_no_damage(make_run, text):
    run = find_runs([make_run("a", files={"metrics.csv": text})])[0]
    assert run.state == "done"
    assert run.variability("loss_d") is None


def test_variability_is_the_standard_deviation_over_the_second_half_of_training(make_run):
    run = find_runs([make_run("a")])[0]
    assert run.variability("loss_d") == pytest.approx(np.std([1.125, 1.25, 1.375]))  # 1000, 1500, 2000 of 2000 images


def test_the_logging_interval_is_counted_in_steps(make_run):
    assert find_runs([make_run("a")])[0].interval == 500 / 32
    steps = find_runs([make_run("b", batch_size=64)])[0]
    assert steps.interval == 500 / 64


def test_speed_is_the_median_of_the_intervals(make_run):
    metrics = "images,images_per_s\n500,100\n1000,3\n1500,102\n2000,"
    assert find_runs([make_run("a", files={"metrics.csv": metrics})])[0].speed == 100


def test_a_learning_rate_is_written_as_people_write_it():
    assert [format_lr(lr) for lr in (2e-4, 1.5e-3, 1e-10, 1.0, 0.0)] == ["2e-4", "1.5e-3", "1e-10", "1e0", "0"]


def test_runs_of_one_data_name_with_different_files_are_grouped_apart(make_run, tmp_path):
    make_run("a", data="folder", overrides=("data.root=/x",))
    make_run("b", data="folder", overrides=("data.root=/y",))
    assert list(group_by_data(find_runs([tmp_path]))) == ["folder · /x", "folder · /y"]


def test_sample_points_are_shared_evenly_chosen_and_keep_the_first_and_the_last(make_run, tmp_path):
    make_run("a", samples=tuple(range(0, 9000, 1000)))
    make_run("b", samples=tuple(range(0, 8001, 500)))
    make_run("stopped", samples=(0, 1000), status={"state": "failed"})
    assert sample_points(find_runs([tmp_path])) == [0, 2000, 4000, 6000, 8000]


def test_a_status_survives_null_warnings(make_run):
    run = find_runs([make_run("a", files={"status.json": json.dumps({"state": "done", "warnings": None})})])[0]
    assert run.warnings == []


def test_a_run_whose_process_was_killed_is_told_from_one_that_runs(make_run):
    folder = make_run("a", status={"state": "running", "images": 32})
    lock = Lock(folder / ".lock")
    assert lock.acquire()
    assert read_run(folder).state == "running"
    lock.release()
    assert read_run(folder).state == "interrupted" and "ended without a word" in read_run(folder).reason
    (folder / ".lock").write_text("another machine")
    assert read_run(folder).state == "running"
