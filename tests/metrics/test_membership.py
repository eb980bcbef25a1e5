from __future__ import annotations

import pytest
import torch
from torchmetrics.functional.classification import binary_auroc

from src.metrics.membership import Attack, Scores, attack, auc, compare_distances, true_positives


def scores(members: torch.Tensor, others: torch.Tensor) -> Scores:
    return Scores(members, torch.arange(len(members)), others, torch.arange(len(others)))


def test_the_auc_is_that_of_torchmetrics_also_with_ties_and_weights_count_as_repetitions():
    generator = torch.Generator().manual_seed(0)
    members, others = (torch.randint(0, 9, (n,), generator=generator).double() / 10 for n in (30, 50))
    target = torch.cat([torch.ones(30), torch.zeros(50)]).int()
    expected = binary_auroc(torch.cat([members, others]), target)
    assert auc(members, others).item() == pytest.approx(expected.item(), abs=1e-6)
    weights = torch.randint(0, 3, (1, 30), generator=generator), torch.randint(0, 3, (1, 50), generator=generator)
    repeated = auc(members.repeat_interleave(weights[0][0]), others.repeat_interleave(weights[1][0]))
    assert auc(members, others, *weights).tolist() == pytest.approx([repeated.item()])


def test_true_positives_are_counted_where_one_of_a_hundred_others_is_taken_for_a_member():
    others = torch.arange(100).double()
    members = torch.tensor([98.0, 98.5, 99.5, 10.0])
    assert true_positives(scores(members, others)) == 0.5


def test_what_the_split_alone_gives_away_is_no_leak_and_what_is_beyond_it_is():
    generator = torch.Generator().manual_seed(0)
    others = torch.randn(80, generator=generator)
    biased, copied = (torch.randn(80, generator=generator) + shift for shift in (1.0, 4.0))
    control = scores(torch.randn(80, generator=generator) + 1.0, others)
    assert not attack(scores(biased, others), [control]).leaks
    found = attack(scores(copied, others), [control])
    assert found.leaks and found.auc > 0.95 and found.control == pytest.approx(0.76, abs=0.06)
    assert found.difference == pytest.approx(found.auc - found.control)


def test_a_leak_has_to_be_larger_where_the_split_gives_away_more():
    even, biased = (Attack(0.7, control, 0.2, (0.05, 0.35), 0.0, 0.0) for control in (0.5, 0.65))
    assert even.leaks and not biased.leaks


def test_images_of_one_patient_are_not_independent():
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(2, 12, generator=generator).repeat_interleave(20, 1)
    values = centres + 0.1 * torch.randn(2, 240, generator=generator)
    groups = torch.arange(12).repeat_interleave(20)
    grouped = Scores(values[0], groups, values[1], groups)
    alone = Scores(values[0], torch.arange(240), values[1], torch.arange(240))
    flat = scores(torch.zeros(240), torch.zeros(240))
    wide, narrow = (attack(one, [flat if one is alone else flat._replace(member_groups=groups, other_groups=groups)])
                    for one in (grouped, alone))  # fmt: skip
    assert (wide.interval[1] - wide.interval[0]) > 2 * (narrow.interval[1] - narrow.interval[0])


def test_a_set_that_is_as_near_as_another_has_a_share_of_a_half_and_one_that_is_nearer_has_more():
    generator = torch.Generator().manual_seed(0)
    held_out, alike, copies = torch.rand(3, 100, generator=generator)
    same = compare_distances(alike, held_out, torch.arange(100))
    assert same.interval[0] < 0.5 < same.interval[1] and same.p > 0.05
    nearer = compare_distances(copies / 2, held_out, torch.arange(100))
    assert nearer.share > 0.7 and nearer.p < 0.001 and nearer.interval[0] > 0.5
