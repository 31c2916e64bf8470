"""Rows of rare classes, drawn by a generator that was trained against a critic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from hybrid_ray.errors import DataError
from hybrid_ray.estimators.base import Trial
from hybrid_ray.params import PluginParams
from hybrid_ray.preparation.balance import RATIOS, RaiseParams, balance_starts, suggest_correct
from hybrid_ray.preparation.columns import standardised
from hybrid_ray.preparation.made import MakingStep, Wanted
from hybrid_ray.registry import PREPARATIONS
from hybrid_ray.seeding import reproducible
from hybrid_ray.types import AnyArray, FloatArray, Task

Loss = Literal["wgan_gp", "spectral"]
Few = Literal["repeat", "refuse"]
STEPS = (150, 300, 600)
"""What the search tries for ``steps``."""
_TINY = 1e-6


class GanAugmentationParams(RaiseParams):
    """Parameters of :class:`GanAugmentation`."""

    loss: Loss = "spectral"
    """What the two minimise: the Wasserstein distance with a gradient penalty, or the logistic loss with a critic whose
    layers have spectral norm 1."""
    components: int | None = Field(32, ge=1, le=1024)
    """Principal components that wider rows are drawn as; left out, all columns."""
    latent: int = Field(16, ge=1, le=1024)
    """Numbers of noise that a row is made of."""
    hidden: int = Field(128, ge=2, le=2048)
    """Width of the two hidden layers of either network."""
    steps: int = Field(300, ge=1, le=100_000)
    """Steps of the generator."""
    critic_steps: int = Field(1, ge=1, le=100)
    """Steps of the critic for each of the generator's."""
    batch_size: int = Field(64, ge=2, le=8192)
    """Rows of one step."""
    lr: float = Field(2e-3, gt=0, le=1)
    """Learning rate of Adam, of both."""
    penalty: float = Field(10.0, ge=0, le=1000)
    """Strength of the gradient penalty of ``wgan_gp``."""
    least: int = Field(16, ge=2, le=1_000_000)
    """Rows with every block that a class needs for rows to be drawn of it."""
    few: Few = "repeat"
    """What becomes of a class that has fewer: its rows are repeated, or the fit is refused with an error."""


@PREPARATIONS.register("gan_augmentation")
class GanAugmentation(MakingStep):
    """Rows of small classes added, drawn by a generator that was trained against a critic on the training rows.

    Both networks are told the class, so that what rows have in common is learned from all classes, each drawn equally
    often. They see every column standardised, of wide rows the first principal components; what these leave out of a
    row is taken from a row of the class. No drawn value lies outside those of its class. Rows that lack a block are
    repeated instead, and so is a class of fewer whole rows than ``least``, unless ``few`` refuses it.

    References
    ----------
    Goodfellow et al., "Generative adversarial nets", NeurIPS 2014; Gulrajani et al., "Improved training of Wasserstein
    GANs", NeurIPS 2017; Miyato et al., "Spectral normalization for generative adversarial networks", ICLR 2018; Douzas
    and Bacao, "Effective data generation for imbalanced learning using conditional generative adversarial networks",
    Expert Systems with Applications 2018.
    """

    Params = GanAugmentationParams

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """A penalty on all columns; spectral norm on components of half as many rows."""
        few = {"latent": 4, "hidden": 8, "steps": 5, "critic_steps": 1, "batch_size": 16, "least": 5}
        yield GanAugmentationParams(**few, components=None)
        yield GanAugmentationParams(**few, components=3, loss="spectral", ratio=0.5, correct=False)

    @property
    def fewest(self) -> int:
        """As the parameters say."""
        return int(self.params.least)

    def lacking(self, code: Any, usable: int) -> None:
        """Refuse the class where that was asked for."""
        if self.params.few == "refuse":
            raise DataError(
                f"{self.name}: a class must have {self.fewest} training rows with every block for rows to be drawn of "
                f"it; got {usable} of the class with code {code}. Lower `least`, or say `few: repeat`"
            )

    def make(self, X: FloatArray, y: AnyArray, wanted: Wanted, seed: int) -> tuple[AnyArray, AnyArray]:
        """Rows drawn by a generator that is trained first."""
        from hybrid_ray.preparation.adversarial import train_generator

        own = self.params
        scaled, mean, deviation = standardised(X)
        axes = _axes(scaled, own.components, seed)
        scores = scaled if axes is None else scaled @ axes
        spread = np.maximum(scores.std(axis=0), _TINY)
        classes, codes = np.unique(y, return_inverse=True)
        rng = np.random.default_rng(seed)
        parts = []
        with reproducible(seed, 1):
            generator = train_generator((scores / spread).astype(np.float32), codes, own)
            for code, new in wanted.items():
                drawn = generator.draw(int(np.searchsorted(classes, code)), new) * spread
                rows = X[y == code]
                if axes is not None:
                    beside = rng.integers(len(rows), size=new)
                    drawn = scaled[y == code][beside] + (drawn - scores[y == code][beside]) @ axes.T
                parts.append(np.clip(drawn * deviation + mean, rows.min(axis=0), rows.max(axis=0)))
        return np.concatenate(parts), np.repeat(list(wanted), list(wanted.values()))

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """How even classes become, how long is trained, and whether probabilities are put back."""
        return {
            "ratio": trial.suggest_categorical("ratio", RATIOS),
            "steps": trial.suggest_categorical("steps", STEPS),
        } | suggest_correct(trial)

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """All classes alike, after 300 steps."""
        return [{**start, "steps": 300} for start in balance_starts()]


def _axes(scaled: FloatArray, components: int | None, seed: int) -> FloatArray | None:
    """The first principal axes (d, k) of centred rows (n, d); None: all columns stand for themselves."""
    if components is None or scaled.shape[1] <= components:
        return None
    from hybrid_ray.fusion.components import principal_axes  # fusions read estimators, which are slow to import

    return principal_axes(scaled, min(components, len(scaled)), seed).T
