import json

import pytest

from src.comparison.group import Group
from src.comparison.runs import find_runs
from src.pictures.figures import PANELS

CLASSIFIER = {
    "config.yaml": "model: {name: classifier, task: {_target_: src.tasks.classification.Classification}}\n"
    "optim: {lr: 0.4}\ndata: {name: cifar10}\n",
    "metrics.csv": "images,loss\n500,2.0\n1000,1.0",
    "summary.json": json.dumps({"final": {"images": 1000, "loss": 1.0, "accuracy": 0.5}, "images": 1000}),
}


@pytest.fixture
def group(tmp_path):
    return lambda: Group("data", find_runs([tmp_path]))


def test_runs_that_differ_in_their_seed_alone_share_a_style_and_an_entry_of_the_legend(make_run, group):
    for i in range(36):
        make_run(f"run{i:02}", lr=f"{i // 3 % 3 + 1}e-4", seed=i % 3, overrides=(f"model.kind={i // 9}",), samples=())
    legend = group().legend
    assert len({style for _, style in legend}) == len(legend) == 12
    assert legend[0][0] == "dcgan · lr 1e-4 · kind 0 · 3 seeds"
    assert [len(panel.lines) for panel in group().panels] == [36] * 4


def test_runs_that_differ_in_nothing_keep_styles_of_their_own(make_run, group):
    make_run("a")
    make_run("b")
    assert [label for label, _ in group().legend] == ["dcgan · lr 2e-4 · a", "dcgan · lr 2e-4 · b"]
    assert len(set(group().styles)) == 2


def test_runs_of_unlike_losses_have_panels_of_their_own_in_the_styles_of_the_legend(make_run, group):
    make_run("a", model="dcgan")
    make_run("b", model="enhanced", loss="Wasserstein")
    make_run("c", model="pggan", loss="Wasserstein")
    assert [panel.title for panel in group().panels] == [
        "Discriminator loss · binary cross-entropy",
        "Generator loss · binary cross-entropy",
        "D(x), real images: probability · binary cross-entropy",
        "D(G(z)), generated images: probability · binary cross-entropy",
        "Discriminator loss · Wasserstein",
        "Generator loss · Wasserstein",
        "D(x), real images: score · Wasserstein",
        "D(G(z)), generated images: score · Wasserstein",
    ]
    styles = [style for _, style in group().legend]
    assert [[style for _, style in panel.lines] for panel in group().panels[3:5]] == [styles[:1], styles[1:]]


def test_runs_of_one_loss_have_panels_without_its_name(make_run, group):
    make_run("a", loss="Hinge")
    assert [panel.title for panel in group().panels] == [
        "Discriminator loss",
        "Generator loss",
        "D(x), real images: score",
        "D(G(z)), generated images: score",
    ]


def test_a_run_that_is_not_adversarial_has_a_panel_of_its_loss(make_run, group):
    make_run("a", model="classifier", files=CLASSIFIER)
    assert [panel.title for panel in group().panels] == [PANELS["loss"]]
