"""A training on several nodes, each of which starts the processes of its own devices."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest
import torch

from src.core import processes
from src.core.errors import UserError
from tests.conftest import TINY, TRAIN, read_json

ASKED = (*TINY, "images=256", "every.log=64", "trainer.accelerator=cpu", "trainer.precision=32-true")


def test_two_nodes_of_one_rank_each_give_the_weights_of_one_process_with_two(tmp_path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    nodes = [
        subprocess.Popen(
            [*TRAIN, *ASKED, "trainer.num_nodes=2", "name=nodes"],
            cwd=tmp_path,
            env={**os.environ, "NODE_RANK": str(number), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port},
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    for node in nodes:
        _, err = node.communicate(timeout=240)
        assert node.returncode == 0, err
    subprocess.run([*TRAIN, *ASKED, "trainer.devices=2", "name=devices"], cwd=tmp_path, check=True)
    one, other = (_weights(tmp_path / "outputs" / name) for name in ("nodes", "devices"))
    assert one.keys() == other.keys()
    assert max((one[name].float() - other[name].float()).abs().max() for name in one) < 1e-5
    assert read_json(tmp_path / "outputs/nodes/status.json")["state"] == "done"


def _weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]


def test_several_nodes_that_cannot_find_each_other_are_refused(run_tiny):
    outcome = run_tiny("trainer.num_nodes=2", "images=64", "name=a")
    assert outcome.status == 2 and "NODE_RANK, MASTER_ADDR and MASTER_PORT" in outcome.error


SLURM = {
    "SLURM_STEP_ID": "0", "SLURM_JOB_ID": "12", "SLURM_NTASKS": "4", "SLURM_NODEID": "1", "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1", "SLURM_STEP_NODELIST": "node[03-04]",
}  # fmt: skip


@pytest.fixture
def in_slurm(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "")  # which are put back
        monkeypatch.delenv(name)
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_tasks_of_slurm_are_ranks_where_they_are_as_many_as_devices(in_slurm):
    processes.take_rank_from_slurm({"devices": 2, "num_nodes": 2})
    assert (processes.rank(), os.environ["LOCAL_RANK"], os.environ["NODE_RANK"]) == (3, "1", "1")
    assert os.environ["MASTER_ADDR"] == "node03" and os.environ["WORLD_SIZE"] == "4"


def test_tasks_of_slurm_are_nodes_where_they_are_as_many_as_those(in_slurm):
    in_slurm.setenv("SLURM_NTASKS", "2")
    processes.take_rank_from_slurm({"devices": 2, "num_nodes": 2})
    assert not processes.is_rank() and os.environ["NODE_RANK"] == "1"


def test_another_number_of_tasks_is_refused_before_they_train_the_same(in_slurm):
    with pytest.raises(UserError, match="Slurm has started 4 tasks"):
        processes.take_rank_from_slurm({"devices": 1, "num_nodes": 1})


@pytest.mark.parametrize(
    ("hosts", "first"), [("node03", "node03"), ("node[03-05,9]", "node03"), ("a1,b[2-3]", "a1"), ("n[7]-ib", "n7-ib")]
)
def test_the_first_host_is_read_from_slurms_lists(hosts, first):
    assert processes.first_host(hosts) == first
