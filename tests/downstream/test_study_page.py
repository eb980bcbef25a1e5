"""The study's page, from made-up results."""

import html
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from src.downstream.analysis import analyse
from src.downstream.dice_figure import way_styles
from src.downstream.results import JobResult
from src.downstream.study_page import Audited, Copy, Generator, Picture, SplitSize, StudyPage, write_study
from src.pictures import figures

OPTIONAL = (
    "The generators",
    "Are they copies?",
    "What do they give away?",
    "What the U-Net draws",
    "Passports",
    "Commands",
    "Warnings",
)
FILES = {f"{case}-{image}.png": str(case) for case in range(9) for image in range(3)}
ARMS: dict[tuple[str, str | None, float], float] = {("real", None, 0.0): 0.0, ("real_unaugmented", None, 0.0): -0.06}
for number, generator in enumerate(["pggan", "enhanced"]):
    ARMS[("synthetic", generator, 0.0)] = -0.1 + 0.02 * number
    ARMS[("synthetic_then_real", generator, 0.0)] = 0.025 + 0.02 * number
    ARMS |= {("mixed", generator, ratio): 0.01 * ratio + 0.01 * number for ratio in (0.5, 1.0)}


def made_up_results():
    random = np.random.default_rng(0)
    hard = np.repeat(random.uniform(0.5, 0.8, 9), 3)
    for (regime, generator, ratio), effect in ARMS.items():
        for fraction in (0.1, 0.25, 1.0):
            for seed in range(3):
                dice = hard + 0.05 * np.log(fraction) + effect + random.normal(0, 0.004) + random.normal(0, 0.02, 27)
                values = dict(zip(FILES, dice.clip(0, 1).tolist(), strict=True))
                yield JobResult(regime, generator, ratio, fraction, seed, values, FILES, f"run{seed}", "python", 0.9)


@pytest.fixture(scope="module")
def bare():
    """A page of what every study has."""
    splits = [SplitSize("train", 3200, 40), SplitSize("validation", 400, 5), SplitSize("test", 27, 9)]
    return StudyPage(analyse(list(made_up_results())), "phantom 64 px", splits, steps=2000)


@pytest.fixture
def full(bare, tmp_path):
    """A page with every part."""
    random = np.random.default_rng(1)

    def picture(name, size):
        path = tmp_path / f"{name}.png"
        Image.fromarray(random.integers(0, 255, (size // 8, size // 8, 3), np.uint8)).resize((size, size)).save(path)
        return path

    scores = {"am_score": (0.512, 0.49, 0.533), "mode_score": (2.31, 2.2, 2.4), "fid": (41.2, 38.1, 44.0)}
    others = {"am_score": (0.7, 0.68, 0.72), "mode_score": (2.1, 2.0, 2.3)}
    passport = "10,000 images · EMA weights · classifier accuracy 0.97 · seed 0"
    return replace(
        bare,
        study=analyse(
            list(made_up_results())[:-1],
            {"enhanced": scores, "pggan": others},
            of_data=["The test split holds copies."],
        ),
        generators=[
            Generator("pggan", others, passport, picture("pggan-masks", 300)),
            Generator("enhanced", scores, passport, picture("enhanced-masks", 300)),
        ],
        real_overlay=picture("real-masks", 300),
        copies=[Copy(picture(f"s{i}", 64), picture(f"r{i}", 64), 1.25 + i) for i in range(6)],
        audits=[Audited("pggan", "They give nothing away.", False, ["few patients"], [("AUC", "0.5", "a coin")])],
        copies_note="Distance in the classifier's features; 10,000 images searched.",
        predictions=[Picture(f"{name}: Dice 0.81", picture(name, 200)) for name in ("best", "median", "worst")],
        passports={"classifier": "penultimate layer, " + "accuracy 0.97 " * 9},
        commands=["python -m src.study data=phantom " + "study.fractions=[0.1,0.25,1.0] " * 4],
        warnings=["A long path: " + "/folder" * 40],
    )


@pytest.fixture(autouse=True)
def small_figures(monkeypatch):
    monkeypatch.setattr(figures, "DPI", 40)  # a fifth of the pixels a side: quicker


def text_of(page, folder):
    return write_study(page, folder).read_text(encoding="utf-8")


def test_the_page_opens_with_the_verdict(bare, tmp_path):
    heading = re.search("<h1>(.*?)</h1>", text_of(bare, tmp_path / "out"), re.DOTALL).group(1)
    assert html.unescape(heading) == bare.study.verdict
    assert "raise the U-Net's Dice by" in bare.study.verdict


def test_the_page_needs_no_other_file_and_no_network(full, tmp_path):
    page = text_of(full, tmp_path / "out")
    links = re.findall(r"""(?:src|href|srcset)\s*=\s*["']?([^"'>\s]{0,40})|url\(([^)]*)\)|@import""", page)
    assert len(links) == 4 + 3 + 12 + 3  # figure, sample grids, copies, predictions
    assert all(link.startswith("data:image/png;base64,") for link, _ in links)
    assert "<script" not in page
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["study.html"]


def test_a_full_page_has_every_section_and_a_bare_one_no_empty_section(bare, full, tmp_path):
    sections = re.findall("<h2>(.*?)</h2>", text_of(full, tmp_path / "full"))
    assert sections[3:] == list(OPTIONAL)
    assert re.findall("<h2>(.*?)</h2>", text_of(bare, tmp_path / "bare")) == sections[:3]


def test_every_arm_comparison_and_claim_is_shown(full, tmp_path):
    page = html.unescape(text_of(full, tmp_path / "out"))
    for arm in full.study.arms:
        assert f"{arm.mean:.3f}<small>{arm.interval[0]:.3f} to {arm.interval[1]:.3f}</small>" in page
        assert f"<small>training {arm.training_dice:.3f}</small>" in page
    for comparison in full.study.comparisons:
        assert f"<td>{comparison.baseline.label}</td>" in page
    assert {claim.state for claim in full.study.claims} == {"supported", "one training each: cannot tell"}
    assert all(page.count(f">{claim.state}<") for claim in full.study.claims)


def test_what_touches_the_verdict_stands_under_it_and_the_rest_below(full, tmp_path):
    page = html.unescape(text_of(full, tmp_path / "out"))
    header, body = page.split("</header>")
    assert "no result yet for seed 2" in header and "The test split holds copies." in header
    assert full.study.power.text() in header and full.warnings[0] in body


def test_only_the_rows_of_the_question_are_corrected_and_bold(full, tmp_path):
    page = html.unescape(text_of(full, tmp_path / "out"))
    question, described = page.split("The question of this page")[1].split(">descriptive<", 1)
    corrected = [comparison for comparison in full.study.comparisons if comparison.corrected]
    assert question.count("<tr><th") == 1 + len(corrected) == 9
    bold = sum(comparison.corrected.p < 0.05 for comparison in corrected)
    assert bold and question.count('differs"') == 5 * bold and "differs" not in described.split("</section>")[0]
    assert ">real, not augmented<" in described


def test_every_regime_has_a_colour_and_a_marker_of_its_own(bare):
    styles = way_styles(bare.study.arms)
    assert len({style.colour for style in styles.values()}) == len({way.regime for way in styles}) == 5
    assert len(set(styles.values())) == len(styles)


def test_where_nothing_varied_no_interval_is_shown(bare, tmp_path):
    zero = [replace(result, dice=dict.fromkeys(FILES, 0.0)) for result in made_up_results()]
    page = text_of(replace(bare, study=analyse(zero)), tmp_path)
    assert "0.000 to" not in page and "What a study of this size can find" not in page


def test_real_images_are_rows_below_the_generators_scores(full, tmp_path):
    floor = Generator("9 unseen real images", {"fid": (9.9,)}, full.generators[0].passport)
    text = text_of(replace(full, floors=[floor]), tmp_path)
    assert text.count('aria-label="scores of the generators"') == 1
    row = text.split("9 unseen real images</th>")[1].split("</tr>")[0]
    assert "9.900<small></small>" in row and text.index("enhanced</th>") < text.index("9 unseen real images")


def test_scores_computed_differently_get_tables_of_their_own(full, tmp_path):
    assert text_of(full, tmp_path / "a").count('aria-label="scores of the generators"') == 1
    unlike = [full.generators[0], replace(full.generators[1], passport="1,000 images")]
    assert text_of(replace(full, generators=unlike), tmp_path / "b").count('aria-label="scores of the generators"') == 2


def test_pictures_that_cannot_be_read_leave_no_gap(bare, tmp_path):
    (tmp_path / "half.png").write_bytes(b"\x89PNG")
    gone = tmp_path / "gone.png"
    page = replace(
        bare,
        real_overlay=gone,
        copies=[Copy(tmp_path / "half.png", gone, 1.0)],
        predictions=[Picture("best", tmp_path / "half.png")],
    )
    assert text_of(page, tmp_path / "a") == text_of(bare, tmp_path / "b")


def test_names_are_escaped(bare, tmp_path):
    page = text_of(replace(bare, data="<script>x</script>", warnings=["1 < 2"]), tmp_path)
    assert "<script" not in page
    assert "1 &lt; 2" in page


def test_a_study_of_one_fraction_has_a_figure(bare, tmp_path):
    results = [result for result in made_up_results() if result.fraction == 1]
    assert "Mean Dice" in text_of(replace(bare, study=analyse(results)), tmp_path)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed")
@pytest.mark.parametrize("width", [1280, 390])
def test_in_a_browser_nothing_overflows_and_nothing_is_logged(full, tmp_path, width):
    write_study(full, tmp_path)
    # A window cannot be narrower than 500 px; a frame can.
    (tmp_path / "frame.html").write_text(
        f"""<iframe src="study.html" width="{width}" height="900" frameborder="0" onload="
        const page = this.contentDocument.documentElement;
        document.title = page.clientWidth + ' ' + page.scrollWidth"></iframe>""",
        encoding="utf-8",
    )
    options = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    options += " --disable-component-update --disable-sync --allow-file-access-from-files --window-size=1400,1000"
    command = ["chromium", *options.split(), f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr"]
    done = subprocess.run(
        [*command, "--v=0", "--virtual-time-budget=5000", "--dump-dom", (tmp_path / "frame.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
    )
    shown, needed = re.search(r"<title>(\d+) (\d+)</title>", done.stdout).groups()
    assert width - 20 <= int(shown) <= width
    assert int(needed) <= int(shown)
    assert "CONSOLE" not in done.stderr
