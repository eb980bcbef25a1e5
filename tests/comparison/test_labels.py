import pytest
import yaml

from src.comparison.labels import differing_settings, label_parts, short_names
from src.comparison.runs import find_runs


@pytest.fixture
def labels(tmp_path):
    """The labels of all runs below tmp_path."""

    def of():
        runs = find_runs([tmp_path])
        return label_parts(runs, differing_settings(runs))

    return of


def config(**sections):
    base = {"optim": {"lr": 2e-4}, "data": {"name": "cifar10"}, "seed": 0}
    return {"config.yaml": yaml.safe_dump(base | {"model": {"name": "dcgan"}} | sections)}


def test_labels_name_the_overrides_that_differ(make_run, labels):
    make_run("a", overrides=("model.activation=relu", "trainer.images=2000"))
    make_run("b", overrides=("model.activation=leaky_relu", "trainer.images=2000"))
    assert labels() == [("dcgan", "lr 2e-4", "activation relu"), ("dcgan", "lr 2e-4", "activation leaky_relu")]


def test_an_override_that_equals_the_default_does_not_differ(make_run, labels):
    make_run("a", overrides=("seed=0",))
    make_run("b", model="enhanced")
    assert labels() == [("dcgan", "lr 2e-4"), ("enhanced", "lr 2e-4")]


def test_labels_of_like_runs_name_their_folders(make_run, labels):
    make_run("a")
    make_run("b")
    assert [label[-1] for label in labels()] == ["a", "b"]


def test_labels_of_like_runs_in_folders_of_one_name_have_the_whole_path(make_run, labels):
    folders = [make_run(f"{sweep}/job") for sweep in ("a", "b")]
    assert [label[-1] for label in labels()] == [str(folder) for folder in folders]


def test_a_null_that_was_asked_for_does_not_differ_from_the_same_null_by_default(make_run, labels):
    model = {"model": {"name": "pggan", "generator": {"attention_at": None}}}
    make_run("a", model="pggan", overrides=("model.generator.attention_at=null",), files=config(**model))
    make_run("b", model="pggan", seed=1, files=config(**model, seed=1))
    assert labels() == [("pggan", "lr 2e-4", "seed 0"), ("pggan", "lr 2e-4", "seed 1")]


def test_a_null_differs_from_a_value_and_is_called_null(make_run, labels):
    for name, value in (("a", None), ("b", 64)):
        files = config(model={"name": "dcgan", "attention_at": value})
        make_run(name, overrides=(f"model.attention_at={value or 'null'}",), files=files)
    assert [label[-1] for label in labels()] == ["attention_at null", "attention_at 64"]


def test_a_loss_that_was_asked_for_does_not_differ_from_the_same_by_default(make_run, labels):
    make_run("a", seed=0, overrides=("loss=bce",))
    make_run("b", seed=1)
    make_run("c", seed=1, loss="Hinge", overrides=("loss=hinge",))
    assert [label[2:] for label in labels()] == [
        ("seed 0", "loss binary cross-entropy"),
        ("seed 1", "loss binary cross-entropy"),
        ("seed 1", "loss hinge"),
    ]


def test_a_choice_that_was_asked_for_does_not_differ_from_the_same_by_default(make_run, labels):
    make_run("a", seed=0, overrides=("budget=laptop", "optim=adam"), files=config(images=30, width=64))
    make_run("b", seed=1, lr="3e-4", files=config(images=30, width=64, seed=1, optim={"lr": 3e-4}))
    assert labels() == [("dcgan", "lr 2e-4", "seed 0"), ("dcgan", "lr 3e-4", "seed 1")]
    make_run("c", seed=1, overrides=("budget=smoke",), files=config(images=10, width=64, seed=1))
    assert [label[2:] for label in labels()] == [
        ("seed 0", "budget laptop"),
        ("seed 1", "budget smoke"),
        ("seed 1", "budget laptop"),
    ]


def test_settings_of_one_last_part_are_told_apart_by_what_stands_before_it(make_run, labels):
    make_run("a", overrides=("model.generator.norm=batch", "model.discriminator.norm=none"))
    make_run("b", overrides=("model.generator.norm=none", "model.discriminator.norm=batch"))
    assert labels()[0] == ("dcgan", "lr 2e-4", "generator.norm batch", "discriminator.norm none")


def test_short_names_are_no_longer_than_it_takes():
    keys = [
        "model.generator.norm",
        "model.discriminator.norm",
        "model.schedule.lr",
        "model.ema.decay",
        "norm",
        "data.seed",
    ]
    names = ["generator.norm", "discriminator.norm", "schedule.lr", "decay", "norm", "data.seed"]
    assert short_names(keys) == dict(zip(keys, names, strict=True))
