"""Groups from names or tables, and splits that no group crosses."""

import numpy as np
import pytest

from src.core.errors import UserError
from src.data.grouping import check_fractions, match_groups, natural_key, number_groups, split_rows

SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}
FILES = [f"case{case}-{image}.png" for case in range(20) for image in range(case % 4 + 1)]
CASES = match_groups(FILES, r"^(.*)-")


def random_split(groups: list[str], seed: int = 0, shares: dict[str, float] = SHARES) -> dict[str, np.ndarray]:
    return split_rows(groups, [0] * len(groups), shares, "random", seed)


def groups_of(groups: list[str], rows: np.ndarray) -> set[str]:
    return {groups[row] for row in rows}


def test_every_row_is_in_one_split_and_no_group_in_two() -> None:
    split = random_split(CASES)
    assert sorted(np.concatenate([*split.values()])) == list(range(len(FILES)))
    held = [groups_of(CASES, rows) for rows in split.values()]
    assert [len(names) for names in held] == [14, 2, 4]
    assert not held[0] & held[1] | held[0] & held[2] | held[1] & held[2]


def test_a_split_depends_on_the_seed_alone() -> None:
    first, again, other = random_split(CASES), random_split(CASES), random_split(CASES, seed=1)
    np.testing.assert_array_equal(first["test"], again["test"])
    assert groups_of(CASES, first["test"]) != groups_of(CASES, other["test"])


def test_a_new_group_moves_few_others() -> None:
    names = [f"patient{number}" for number in range(100)]
    before, after = random_split(names), random_split([*names, "new"])
    assert sum(len(set(before[name]) - set(after[name])) for name in SHARES) <= 2


def labelled(rare: int) -> tuple[list[str], list[int]]:
    return [f"a{n}" for n in range(60)] + [f"b{n}" for n in range(rare)], [0] * 60 + [1] * rare


def test_a_random_split_has_each_class_in_its_shares() -> None:
    names, strata = labelled(rare=6)
    for seed in range(6):
        split = split_rows(names, strata, SHARES, "random", seed)
        assert [(rows < 60).sum() for rows in split.values()] == [42, 6, 12]
        assert [(rows >= 60).sum() for rows in split.values()] == [4, 1, 1]


@pytest.mark.parametrize("seed", range(3))
def test_groups_of_several_classes_and_rare_classes_are_ranked_with_all_others(seed: int) -> None:
    names, strata = labelled(rare=2)  # too few for three splits
    pairs = [f"case{n // 2}" for n in range(60)]  # two images, one of each class
    for groups, labels in ((names, strata), (pairs, [0, 1] * 30)):
        split, flat = split_rows(groups, labels, SHARES, "random", seed), random_split(groups, seed)
        assert all((split[name] == flat[name]).all() for name in SHARES)


def test_the_random_split_of_data_without_classes_stays_what_it_was() -> None:
    names = [f"p{n}" for n in range(10)]
    assert {name: rows.tolist() for name, rows in random_split(names).items()} == {
        "train": [0, 2, 3, 4, 5, 7, 8],
        "val": [6],
        "test": [1, 9],
    }


def test_order_cuts_contiguous_ranges_of_each_class() -> None:
    files = [f"{letter}/{number}" for letter in "ab" for number in range(10)]
    split = split_rows(files, [0] * 10 + [1] * 10, SHARES, "order", 0)
    assert split["train"].tolist() == [*range(7), *range(10, 17)]
    assert split["val"].tolist() == [7, 17]
    assert split["test"].tolist() == [8, 9, 18, 19]


def test_no_split_is_empty_and_a_zero_fraction_is_absent() -> None:
    assert [len(rows) for rows in random_split(["a", "b", "c"]).values()] == [1, 1, 1]
    tiny = random_split([*"abcde"], shares={"train": 0.05, "val": 0.05, "test": 0.9})
    assert [len(rows) for rows in tiny.values()] == [1, 1, 3]
    assert list(random_split(["a", "b"], shares={"train": 0.9, "val": 0, "test": 0.1})) == ["train", "test"]
    with pytest.raises(UserError, match=r"2 group\(s\) of images cannot fill the splits train, val, test"):
        random_split(["a", "b", "b"])


@pytest.mark.parametrize("shares", [{"train": 0.7}, {"train": 1.5, "test": -0.5}, {"training": 1.0}, {}])
def test_fractions_that_make_no_split_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(UserError, match=r"data\.splits"):
        check_fractions(shares)


def test_a_group_is_the_first_group_of_the_pattern_or_its_match() -> None:
    assert match_groups(["i/SC-N-2-IM-0001.dcm.png"], "^(.*)-IM") == ["SC-N-2"]
    assert match_groups(["i/person17_virus_3.jpeg"], r"person\d+") == ["person17"]


def test_a_file_without_group_and_a_broken_pattern_are_refused() -> None:
    with pytest.raises(UserError, match=r"does not match i/b\.png"):
        match_groups(["i/a-1.png", "i/b.png"], "(.*)-")
    with pytest.raises(UserError, match="no regular expression"):
        match_groups(["a.png"], "(")


def test_frames_belong_to_the_sequence_that_began_last() -> None:
    assert number_groups(["x/1.png", "x/25.png", "x/26.png", "x/300.png"], [1, 26]) == ["from 1"] * 2 + ["from 26"] * 2
    assert number_groups(["2-frame030.png"], [1, 26]) == ["from 26"]
    with pytest.raises(UserError, match=r"x/1\.png has no number from 2 on"):
        number_groups(["x/1.png"], [2, 26])
    with pytest.raises(UserError, match="must ascend"):
        number_groups(["x/1.png"], [26, 1])


@pytest.mark.parametrize("pattern", [r"^(patient\d+)?", "x*"])
def test_a_file_whose_group_is_empty_is_refused(pattern: str) -> None:
    with pytest.raises(UserError, match=r"does not match i/_y\.png"):
        match_groups(["i/_y.png"], pattern)


def test_natural_order_counts() -> None:
    assert sorted(["10.png", "9.png", "a10", "a²", "a2"], key=natural_key) == ["9.png", "10.png", "a2", "a10", "a²"]
