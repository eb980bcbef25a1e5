from __future__ import annotations

import json

from src.release.left_out import LeftOut


def test_what_an_export_left_out_is_said_with_its_reasons():
    text = LeftOut(100, {"lesion: speckle": 1_200, "copy": 3}).text()
    assert text == "1,203 of 1,303 images made (lesion: speckle 1,200, copy 3)"
    assert LeftOut(100, {}).text() == "0 of 100 images made"


def test_what_is_kept_is_a_selection_where_more_than_half_was_left_out():
    assert not [*LeftOut(50, {"copy": 50}).cautions()] and [*LeftOut(50, {"copy": 30, "lung: empty": 21}).cautions()]
    (caution,) = LeftOut(50, {"copy": 150}).cautions()
    assert caution.startswith("the checks left out 75% of the images made")


def test_masks_that_were_kept_though_they_fail_the_checks_are_counted_and_said(tmp_path):
    (tmp_path / "dataset.json").write_text('{"n": 4}')
    (tmp_path / "manifest.csv").write_text("file,masks_ok\na,true\nb,false\nc,false\nd,\n")
    found = LeftOut.of(tmp_path)
    assert found == LeftOut(4, {}, unfit=2)
    assert found.text() == "0 of 4 images made; 2 are kept with masks that fail the checks"
    assert [*found.cautions()] == [
        "50% of the images have masks that fail the checks, which were off: a network learns from them as from right "
        "ones"
    ]
    assert not [*LeftOut(100, {}, unfit=10).cautions()]


def test_it_is_read_from_the_card_of_an_export(tmp_path):
    for card in ({"n": 5}, {"n": 5, "rejected": {}}, {"n": 5, "rejected": {"copy": 2}}):
        (tmp_path / "dataset.json").write_text(json.dumps(card))
        assert LeftOut.of(tmp_path) == LeftOut(5, card.get("rejected", {}))
