"""The audit: a copier is called out, who never saw the data is not, and what is missing is one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import audit_level
from src.audit import main
from src.core.pixels import to_bytes
from src.data.store import UNKNOWN, Split, Store
from tests.conftest import read_json
from tests.release.test_copies import draw


@pytest.fixture
def audited(run_tiny, monkeypatch, capfd):
    """``src.audit`` of a tiny DCGAN on 100 images of 100 patients (name=a), whose images are replaced by ``made``."""
    Path("scans").mkdir()
    for i, image in enumerate(to_bytes(draw(100, seed=0, size=(32, 32)))):
        Image.fromarray(image[0].numpy()).save(f"scans/{i}.png")

    def train(*arguments):
        return run_tiny(
            "data=folder", "data.root=scans", "resolution=16", "batch_size=16", "images=64", "name=a", *arguments
        )

    def run(made=None, *arguments):
        if made is not None:
            stored = to_bytes(made).numpy()
            split = Split(Store(stored, np.full(len(stored), UNKNOWN), None, {}), np.arange(len(stored)))
            monkeypatch.setattr("src.release.generated.generated_split", lambda run, count, seed: split)
        status = main(["run=outputs/a", "device=cpu", *arguments])
        return status, *capfd.readouterr()

    return train, run


def learned() -> torch.Tensor:
    """The images that the run learned from, at 16 px."""
    import hashlib

    known = set(read_json(Path("outputs/a/training_images.json"))["images"])
    files = [path for path in Path("scans").glob("*.png")
             if hashlib.sha256(path.read_bytes()).hexdigest()[:16] in known]  # fmt: skip
    pixels = np.stack([np.asarray(Image.open(path).resize((16, 16), Image.Resampling.BOX)) for path in sorted(files)])
    return torch.from_numpy(pixels[:, None] / 127.5 - 1).float()


def recognise(learned: torch.Tensor):
    """A discriminator that knows the images it learned from."""

    def judge(module, images: torch.Tensor) -> torch.Tensor:
        return -torch.cdist(images.flatten(1), learned.flatten(1)).min(1).values

    return judge


def test_a_generator_of_copies_is_called_out_and_one_that_never_saw_the_data_is_not(audited, monkeypatch):
    train, run = audited
    assert train("data.splits={train: 0.4, val: 0.0, test: 0.6}").status == 0
    copies = learned()
    noise = 0.03 * torch.randn(copies.shape, generator=torch.Generator().manual_seed(0))
    status, out, _ = run((copies + noise).clamp(-1, 1))
    found = read_json(Path("outputs/a/audit/last/n500_seed0/audit.json"))
    assert status == 0 and found["leaks"] and found["nearest_image_attack"]["auc"] >= 0.9
    assert "give away whose images the generator learned from" in out.replace("\n", " ")
    assert found["copies"]["left_out"] > 0.9 * len(copies) and found["nearness"]["p"] < 0.001
    page = Path("outputs/a/audit/last/n500_seed0/audit.html").read_text()
    assert found["sentence"] in page and page.count('class="pair"') == 8 and "http" not in page.split("</style>")[1]

    status, out, _ = run(torch.nn.functional.avg_pool2d(draw(40, seed=9, size=(32, 32)), 2), "seed=1")
    found = read_json(Path("outputs/a/audit/last/n500_seed1/audit.json"))
    assert status == 0 and not found["leaks"] and "no proof of privacy" in found["sentence"]
    assert found["held_out"] == {"images": 60, "patients": 60}
    assert not any("patients were held out" in caution for caution in found["cautions"])
    assert found["discriminator_attack"] is not None
    with monkeypatch.context() as patch:
        patch.setattr("src.training.adversarial.AdversarialModule.judge", recognise(copies))
        run(None, "n=20", "out=judged")
    found = read_json(Path("judged/audit.json"))
    assert found["discriminator_attack"]["leaks"] and "whoever gets the checkpoint can too" in found["cautions"][-1]


def test_what_the_generator_makes_is_audited_and_few_patients_are_a_caution(audited):
    train, run = audited
    assert train().status == 0
    status, out, _ = run(None, "n=20", "out=here")
    found = read_json(Path("here/audit.json"))
    assert status == 0 and found["synthetic_images"] == 20 and "done: here" in out
    assert "only 30 patients were held out" in found["cautions"][0]


def test_without_held_out_patients_an_audit_is_one_line(audited):
    train, run = audited
    assert train("data.splits={train: 1.0}").status == 0
    status, _, err = run(None, "n=20")
    assert status == 2 and "an audit needs real images of patients held out of training" in err.splitlines()[-1]
    assert not Path("outputs/a/audit/last/n20_seed0/audit.json").exists()


@pytest.mark.parametrize("world", [world for world in audit_level.WORLDS if world.images == 1], ids=str)
def test_releases_that_copy_nothing_are_rarely_called_a_leak_also_where_the_split_is_biased(world):
    for kind in audit_level.HONEST:
        found = [audit_level.release(world, kind, seed) for seed in range(20)]
        assert sum(one.leaks for one in found) <= 2, kind
        if kind == "elsewhere" and not world.bias:
            assert abs(torch.tensor([one.difference for one in found]).mean()) < 0.03
    assert all(audit_level.release(world, "overfitted", seed).auc > 0.9 for seed in range(5))
