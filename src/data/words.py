"""What the names of files and folders say: masks, splits, patients."""

from __future__ import annotations

import re


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


MASKS = _set(
    "mask masks maskes label labels labelmap labelmaps seg segs segmentation segmentations segmented annotation "
    "annotations annot annots instance instances groundtruth groundtruths gt gts contour contours roi rois manual "
    "delineation delineations"
)
FINDINGS = _set("lesion lesions nodule polyp tumor tumour vessel vessels outline")  # in "<stem>_lesion" beside "<stem>"
SPLITS = {
    "train": _set("train training traindata trainset"),
    "val": _set("val valid validation validate dev development"),
    "test": _set("test testing tests testdata testset"),
}
IMAGES = _set("image images imgs img input inputs original originals scan scans picture pictures")
CASES = _set("patient patients pat pt case cases subject subjects subj sub study series sequence seq")
CLASSES = _set("class grade stage type level score category label group birads bi rads gleason kl tirads severity")
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
MASK_END = re.compile(
    r"^(?P<stem>.+?)[ _.\-]"
    r"(?P<word>(?:i|o|lung|infection|ground)?[ _.\-]?[A-Za-z]+?)"
    r"(?P<more>\d*(?:[ _.\-]\(?\d+\)?)?)$"
)


def words(name: str) -> list[str]:
    """ "lungMasks_v2" → lung, masks, v."""
    return [word.lower() for word in WORD.findall(name)]


def means_masks(name: str) -> bool:
    """Whether a folder of this name most likely holds masks; "Ground Truth" does, "images" does not."""
    said = words(name)
    return bool(MASKS.intersection(said)) or "groundtruth" in "".join(said)


def means_images(name: str) -> bool:
    """Whether a folder is named after what it holds, and no class: "images", "imagesTr"."""
    return bool(IMAGES.intersection(words(name)))


def split_of(name: str) -> str | None:
    """The split that a folder is named after: "Training" → train."""
    said = words(name)
    found = [split for split, names in SPLITS.items() if names.intersection(said)]
    return found[0] if len(found) == 1 and len(said) <= 2 else None


def means_case(name: str) -> bool:
    """Whether a folder is named as a patient: "patient_012", "sub-03"."""
    return bool(CASES.intersection(words(name))) and any(letter.isdigit() for letter in name)


def may_be_cases(names: list[str]) -> bool:
    """Whether folders may be patients as well as classes: each has a number in its name, or there are very many."""
    if any(CLASSES.intersection(words(name)) for name in names):
        return False
    return len(names) > 50 or (len(names) > 1 and all(any(letter.isdigit() for letter in name) for name in names))


def mask_end(stem: str) -> tuple[str, str] | None:
    """Of a file named as the mask of another: that one's stem, and what follows; "a_mask_1" → a, _mask_1."""
    found = MASK_END.match(stem)
    if found is None or not (means_masks(found["word"]) or FINDINGS.intersection(words(found["word"]))):
        return None
    return found["stem"], stem[len(found["stem"]) :]
