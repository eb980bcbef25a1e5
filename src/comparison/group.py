"""The runs of one data set side by side: what tells them apart, how each is drawn, and in which panels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from src.comparison.labels import differing_settings, label_parts
from src.comparison.runs import Run
from src.pictures.figures import OUTPUTS, PANELS, Panel, Style, run_style


class Group:
    """Runs that are compared, in their order.

    Attributes:
        settings: per run, its values of the settings by which the runs differ.
        keys: of these settings.
        labels: per run, the parts of its label.
        configurations: likewise, without the seed: alike for runs that differ in their seed alone.
        styles: per run, alike for runs of one configuration.
        panels: the curves to draw; runs of unlike losses get panels of their own.
    """

    def __init__(self, title: str, runs: Sequence[Run]) -> None:
        self.title, self.runs = title, runs
        self.settings = differing_settings(runs)
        self.keys = list(self.settings[0]) if runs else []
        self.labels = label_parts(runs, self.settings)
        self.configurations = [_without_seed(label, self.keys) for label in self.labels]
        places = {configuration: i for i, configuration in enumerate(dict.fromkeys(self.configurations))}
        self.styles = [run_style(places[configuration]) for configuration in self.configurations]
        self.panels = list(_panels(runs, self.styles))

    @property
    def legend(self) -> list[tuple[str, Style]]:
        """A label for every configuration, with the number of its seeds where there are several."""
        styles = dict(zip(self.configurations, self.styles, strict=True))
        seeds = Counter(self.configurations)
        return [
            (" · ".join([*parts, *([f"{seeds[parts]} seeds"] if seeds[parts] > 1 else [])]), style)
            for parts, style in styles.items()
        ]

    @property
    def losses(self) -> list[str]:
        """The losses of the runs by name, once each; empty for those whose files do not say."""
        return list(dict.fromkeys(_loss_name(run) for run in self.runs))


def _without_seed(label: tuple[str, ...], keys: Sequence[str]) -> tuple[str, ...]:
    place = 2 + keys.index("seed") if "seed" in keys else len(label)  # after the model and the learning rate
    return label[:place] + label[place + 1 :]


def _loss_name(run: Run) -> str:
    return run.loss.name if run.loss else ""


def _panels(runs: Sequence[Run], styles: Sequence[Style]) -> Iterator[Panel]:
    losses = dict.fromkeys(_loss_name(run) for run in runs if run.metrics)
    for loss in losses:
        members = [(run, style) for run, style in zip(runs, styles, strict=True) if _loss_name(run) == loss]
        probabilities = any(run.loss.gives_probabilities for run, _ in members if run.loss)
        for column, title in PANELS.items():
            lines = [(run.metrics, style) for run, style in members if len(run.metrics.get(column, ()))]
            if lines:
                if column in OUTPUTS and loss:
                    title += ": probability" if probabilities else ": score"
                yield Panel(column, f"{title} · {loss}" if loss and len(losses) > 1 else title, lines, probabilities)
