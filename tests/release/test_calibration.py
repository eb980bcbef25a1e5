from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from src.core.errors import UserError
from src.data.store import Split
from src.release.calibration import FEW_PATIENTS, NEAREST, Calibration, Others, describe
from src.release.comparison import Comparison
from src.release.copies import PRICES, SCALES, Originals, priced
from tests.release.test_copies import draw, split_of


def cases(patients: int, images: int = 1) -> list[str]:
    return [f"p{number // images}" for number in range(patients * images)]


def measured(distances: torch.Tensor, patients: list[str]) -> Calibration:
    """Of held-out images that are as near at all scales."""
    at_scales = distances.double()[:, None].expand(-1, len(SCALES))
    return Calibration(Others(at_scales, tuple(patients)), Others.none(), 0)


def outlines(count: int, seed: int, inside: int = 0) -> torch.Tensor:
    """Bodies of a form of their own, of which all else is noise, drawn by ``inside``."""
    small = torch.randn(count, 1, 5, 5, generator=torch.Generator().manual_seed(seed))
    body = F.interpolate(small, size=(64, 64), mode="bicubic") > 0
    noise = torch.rand(2, count, 1, 64, 64, generator=torch.Generator().manual_seed(100 + seed + inside))
    return torch.where(body, noise[0], 0.55 * noise[1]) * 1.8 - 0.9


def test_a_copied_outline_around_another_inside_is_found_where_held_out_images_price_the_whole():
    learned, held_out = split_of(outlines(40, seed=0)), split_of(outlines(120, seed=1))
    made = outlines(40, seed=0, inside=7)
    whole = Comparison.between(learned, held_out, 1)
    few = Comparison.between(learned, held_out.take(np.arange(99)), 1)
    assert few.calibration.prices == PRICES and len(whole.calibration.prices) == len(SCALES) > len(PRICES)
    found, without = (
        (one.originals.nearest(made)[1] < one.calibration.threshold(0.05)).double().mean() for one in (whole, few)
    )
    assert without < 0.8 < 0.9 <= found


def test_the_nearest_held_out_images_are_equally_near_at_all_scales(real, originals):
    calibration = Calibration.of(originals, split_of(real), split_of(draw(120, seed=4)), 1)
    at_scales = calibration.held_out.at_scales * torch.tensor(calibration.prices, dtype=torch.float64)
    near = at_scales.sort(0).values[int(120 * NEAREST)]
    assert torch.allclose(near, near[0].expand(len(SCALES)))


def patients_with_their_own_distance(count: int, seed: int, images: int = 10) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    own = torch.randn(count, generator=generator).repeat_interleave(images)
    return 0.5 + 0.05 * (own + 0.3 * torch.randn(count * images, generator=generator))


@pytest.mark.parametrize("count", [25, 100])
def test_a_next_patient_loses_no_more_than_the_share_that_sets_the_threshold(count):
    rejected, by_quantile = [], []
    for seed in range(400):
        drawn = patients_with_their_own_distance(count + 5, seed)
        known, following = drawn[: count * 10], drawn[count * 10 :]
        rejected.append((following < measured(known, cases(count, 10)).threshold(0.05)).float().mean())
        by_quantile.append((following < known.quantile(0.05)).float().mean())
    assert 0.01 < torch.stack(rejected).mean() < 0.05 < torch.stack(by_quantile).mean()


def test_a_next_patient_loses_no_more_also_where_the_same_images_weigh_scales_of_their_own():
    rejected, middle, spread = [], torch.tensor([0.5, 0.4, 0.25]), torch.tensor([0.04, 0.05, 0.05])
    for seed in range(800):
        drawn = torch.randn(160, len(SCALES), generator=torch.Generator().manual_seed(seed))
        at_scales = (middle + spread * drawn).clamp_min(0.01).double()
        known = Calibration(Others(at_scales[:150], tuple(cases(150))), Others.none(), 0)
        assert known.prices != PRICES
        near = priced(at_scales[150:], known.prices) < known.threshold(0.05)
        rejected.append(near.double().mean())
    assert 0.02 < torch.stack(rejected).mean() < 0.05


def test_too_few_patients_for_the_share_set_the_distance_of_the_nearest_of_their_images():
    distances = patients_with_their_own_distance(24, seed=0)
    assert measured(distances, cases(24, 10)).threshold(0.05) == pytest.approx(float(distances.min()), abs=1e-3)


def test_a_patient_counts_as_much_as_another_however_many_images_there_are_of_each():
    distances = torch.linspace(0.3, 0.9, 100)
    alone = measured(distances, cases(100)).threshold(0.05)
    repeated = measured(torch.cat([distances, distances[:1].expand(900)]), cases(100) + ["p0"] * 900).threshold(0.05)
    assert repeated == alone > 0.31


def test_patients_of_the_training_set_make_up_for_few_held_out_each_compared_with_all_others():
    pairs = draw(20, seed=0).repeat_interleave(2, 0)  # two alike of each patient
    learned = split_of(pairs, cases=cases(20, 2))
    originals = Originals.of(learned, 1)
    few = Calibration.of(originals, learned, split_of(draw(30, seed=4), cases=cases(10, 3)), 1)
    assert len(set(few.left_out.patients)) == 20 and len(few.left_out.at_scales) == 40
    assert few.left_out.at_scales[:, 0].min() > 0.25
    assert few.threshold(0.05) != measured(few.distances, list(few.held_out.patients)).threshold(0.05)
    assert "40 images of 20 training patients, compared with those of all others, count too" in few.describe()
    many = Calibration.of(originals, learned, split_of(draw(FEW_PATIENTS, seed=4)), 1)
    assert not many.left_out.patients and "count too" not in many.describe()


def test_only_as_many_patients_of_the_training_set_are_drawn_as_lack_to_be_enough():
    learned = split_of(draw(30, seed=0), cases=cases(30))
    originals = Originals.of(learned, 1)
    held_out = split_of(draw(45, seed=4), cases=cases(45))
    one, same, other = (Calibration.of(originals, learned, held_out, 1, seed).left_out for seed in (0, 0, 1))
    assert len(one.patients) == 5 and one.patients == same.patients != other.patients
    order = np.random.default_rng(0).permutation(30)
    again = Calibration.of(Originals.of(learned.take(order), 1), learned.take(order), held_out, 1).left_out
    assert again.patients == one.patients and torch.allclose(again.at_scales, one.at_scales, atol=1e-4)


def test_of_a_patient_with_many_images_some_from_first_to_last_are_enough(monkeypatch):
    monkeypatch.setattr("src.release.calibration.MOST", 4)
    learned = split_of(draw(18, seed=0), cases=[*["many"] * 10, *["few"] * 3, *["one"], *["five"] * 4])
    originals = Originals.of(learned, 1)
    left_out = Calibration.of(originals, learned, split_of(draw(5, seed=4)), 1).left_out
    assert sorted(left_out.patients) == sorted([*["many"] * 4, *["few"] * 3, "one", *["five"] * 4])
    whole = originals.take(torch.arange(10, 18)).distances_of(learned.take(np.array([0, 3, 6, 8])), 1)
    assert torch.allclose(left_out.at_scales[[name == "many" for name in left_out.patients]], whole, atol=1e-4)


def test_a_training_set_of_one_patient_has_none_to_leave_out(real, originals):
    learned = split_of(real, cases=["p"] * 40)
    assert not Calibration.of(originals, learned, split_of(draw(5, seed=4)), 1).left_out.patients


def test_originals_that_are_left_out_are_not_found(real, originals):
    rows = torch.arange(1, 40, 2)
    index, distance = originals.take(rows).nearest(real)
    assert index[rows].tolist() == list(range(20)) and distance[rows].max() < 1e-3
    assert distance[rows - 1].min() > 0.2


def test_the_facts_of_a_calibration_are_those_of_the_held_out_images(real, originals):
    held_out = split_of(draw(60, seed=4), cases=cases(30, 2))
    calibration = Calibration.of(originals, split_of(real), held_out, 1)
    facts = calibration.facts()
    assert (facts["images"], facts["patients"]) == (60, 30) and facts["1%"] <= facts["5%"] <= facts["50%"]
    assert facts["left_out_in_turn"] == {"images": 20, "patients": 20}
    assert f"60 real images of 30 patients held out of training, 1% are nearer than {facts['1%']:g}" in (
        calibration.describe()
    )


def test_facts_of_an_export_made_before_training_patients_counted_are_still_described():
    old = {"images": 60, "patients": 30, "duplicates": 0, "1%": 0.1, "5%": 0.2, "50%": 0.3}
    assert describe(old).endswith("half than 0.3")


def test_of_many_held_out_images_no_more_are_compared_than_are_enough(monkeypatch, real, originals):
    monkeypatch.setattr("src.release.calibration.ENOUGH", 12)
    assert Calibration.of(originals, split_of(real), split_of(draw(30, seed=4)), 1).facts()["images"] == 12


def test_few_patients_are_a_caution():
    few, many = (measured(torch.rand(120), [f"p{i % count}" for i in range(120)]) for count in (49, 50))
    assert "only 49 patients were held out" in str(few.caution()) and many.caution() is None


def test_without_real_images_held_out_there_is_no_threshold_and_one_line_says_so(real, originals):
    nothing: Split = split_of(real).take(np.arange(0))
    calibration = Calibration.of(originals, split_of(real), nothing, 1)
    assert calibration.facts() == {"images": 0, "patients": 0, "duplicates": 0} and calibration.caution() is None
    assert calibration.describe().startswith("no real image was held out")
    with pytest.raises(UserError, match=r"copies.min_distance=….*copies.share=null"):
        calibration.threshold(0.05)


def test_held_out_images_that_are_a_training_image_again_do_not_count(real, originals):
    held_out = draw(50, seed=4)
    noise = torch.randn(5, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    again = torch.cat(
        [real[:5], (real[5:10] + 0.004 * noise).clamp(-1, 1), real[10:12].flip(3)]
    )  # saved anew, mirrored
    clean, spoilt = (
        Calibration.of(originals, split_of(real), split_of(images), 1)
        for images in (held_out, torch.cat([held_out, again]))
    )
    assert spoilt.facts() == {**clean.facts(), "duplicates": 12} and clean.facts()["1%"] > 0.2
    assert spoilt.describe().endswith("; 12 more are a training image again, and do not count")
