"""From similarities to the set that an image is of."""

from __future__ import annotations

import pytest
import torch

from src.identification.rules import RULES, by_best, by_mean, by_neighbours, by_profile

OWNER = torch.tensor([0, 0, 0, 1, 1, 1])
ALIKE = torch.tensor([[0.9, 0.1, 0.1, 0.5, 0.5, 0.5]])


def test_the_mean_and_the_best_may_name_different_sets() -> None:
    mean, best = by_mean(ALIKE, torch.eye(6), OWNER), by_best(ALIKE, torch.eye(6), OWNER)
    assert (mean.answers.item(), best.answers.item()) == (1, 0)
    assert mean.margins.item() == pytest.approx(0.5 - 1.1 / 3) and best.margins.item() == pytest.approx(0.4)


def test_neighbours_vote_and_the_nearest_decides_where_they_are_even() -> None:
    assert by_neighbours(ALIKE, torch.eye(6), OWNER).answers.item() == 1  # three of the five nearest
    even = torch.tensor([[0.9, 0.8, 0.7, 0.6]])
    owner = torch.tensor([1, 0, 0, 1])
    assert by_neighbours(even, torch.eye(4), owner).answers.item() == 1


def worlds(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Similarities of ``count`` images of two sets to ten references of each: those of set 0 are like everything, those
    of set 1 like nothing, themselves neither, as smooth images and textures are. Returns them and the truth."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.arange(count) % 2
    base = torch.where(truth == 0, 0.7, 0.1)[:, None] + torch.tensor([0.15] * 10 + [0.0] * 10)
    return base + 0.02 * torch.randn(count, 20, generator=generator), truth


def test_the_profile_finds_a_set_whose_images_are_unlike_everything() -> None:
    owner = torch.tensor([0] * 10 + [1] * 10)
    among = torch.cat([worlds(20, 0)[0][0::2], worlds(20, 1)[0][1::2]])
    among = (among + among.T) / 2
    held_out, truth = worlds(40, 2)
    assert (by_mean(held_out, among, owner).answers == 0).all()
    held_out = torch.where(truth[:, None] == 0, held_out, among[10:].mean(0) + 0.01 * torch.randn(40, 20))
    assert torch.equal(by_profile(held_out, among, owner).answers, truth)


def test_the_profile_leaves_each_reference_out_of_its_own_set() -> None:
    """A reference is as like itself as can be, whatever that is: nothing changes with the diagonal."""
    owner = torch.tensor([0] * 10 + [1] * 10)
    among, held_out = torch.rand(20, 20, generator=torch.Generator().manual_seed(0)), worlds(6, 1)[0]
    one, other = (by_profile(held_out, among.clone().fill_diagonal_(d), owner) for d in (1.0, 1e6))
    assert torch.equal(one.scores, other.scores)


def test_a_set_of_equal_images_has_a_finite_profile() -> None:
    verdict = by_profile(ALIKE, torch.full((6, 6), 0.5), OWNER)
    assert verdict.scores.isfinite().all()


@pytest.mark.parametrize("rule", RULES)
def test_no_answer_depends_on_the_order_of_the_references(rule: str) -> None:
    generator = torch.Generator().manual_seed(3)
    owner = torch.tensor([0] * 6 + [1] * 6 + [2] * 6)
    among, held_out = torch.rand(18, 18, generator=generator), torch.rand(30, 18, generator=generator)
    order = torch.randperm(18, generator=generator)
    one = RULES[rule](held_out, among, owner)
    other = RULES[rule](held_out[:, order], among[order][:, order], owner[order])
    assert torch.equal(one.answers, other.answers) and torch.allclose(one.scores, other.scores, atol=1e-5)
