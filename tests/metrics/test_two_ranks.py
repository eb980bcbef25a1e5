from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from src.metrics.frechet import FrechetDistance, frechet_distance, mean_and_covariance
from tests.forked import FORK
from tests.metrics.test_frechet import features_of
from tests.metrics.test_probabilities import GOLDEN, TOLERANCE, matrix, metrics_of

Scores = dict[str, float]


def score_on(rank: int, folder: Path) -> None:
    """A rank's share of the images, unevenly split; its scores go to a file."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    scores: Scores = {}
    for case in GOLDEN:
        for dtype in TOLERANCE:
            for name, metric in metrics_of(len(case["training"][0])).items():
                for side in ("generated", "training"):
                    metric.update(share(matrix(*case[side], dtype=dtype), rank), real=side == "training")
                scores[f"{case['name']} {dtype} {name}"] = float(metric.compute())
    torch.save(scores | frechet_scores(rank), folder / f"{rank}.pt")
    dist.destroy_process_group()


def share(rows: torch.Tensor, rank: int) -> torch.Tensor:
    return rows[:7] if rank == 0 else rows[7:]


def frechet_scores(rank: int) -> Scores:
    metric = FrechetDistance(8)
    metric.update(share(features_of(40, 8, 1), rank), real=True)
    statistics = metric.real_statistics()
    metric.update(share(features_of(30, 8, 2), rank), real=False)
    loaded = FrechetDistance(8)
    loaded.load_real_statistics(statistics)
    loaded.update(share(features_of(30, 8, 2), rank), real=False)
    return {"frechet": float(metric.compute()), "frechet with saved statistics": float(loaded.compute())}


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> list[Scores]:
    folder = tmp_path_factory.mktemp("ranks")
    mp.start_processes(score_on, args=(folder,), nprocs=2, start_method=FORK.get_start_method())
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("case", GOLDEN, ids=[case["name"] for case in GOLDEN])
def test_every_metric_has_its_golden_value_on_each_of_two_ranks(scores, case):
    for found in scores:
        for dtype, tolerance in TOLERANCE.items():
            for name in metrics_of(2):
                value = found[f"{case['name']} {dtype} {name}"]
                assert value == pytest.approx(case["expected"][name], abs=tolerance), (name, dtype)


@pytest.mark.parametrize("name", ["frechet", "frechet with saved statistics"])
def test_the_frechet_distance_of_two_ranks_is_that_of_one_and_counts_saved_statistics_once(scores, name):
    expected = frechet_distance(
        *mean_and_covariance(features_of(40, 8, 1)), *mean_and_covariance(features_of(30, 8, 2))
    )
    assert [found[name] for found in scores] == pytest.approx([float(expected)] * 2, abs=1e-9)
