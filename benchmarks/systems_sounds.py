"""Sounds of machines for ``systems.py``, made: tones and chirps in noise. Only ``systems_series.py`` imports this."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from hybrid_ray.data.sounds import encode_wav

N, RATE, SEED = 1200, 8000, 20_27
STATES, TREMBLE = ("idle", "spins up", "runs down", "worn"), (0.0, 0.7, 2.2, 2.9)
LEVELS = (-2.2, -0.8)
"""Decimal logarithms of the least and the largest amplitude of a pattern; that of the noise is 0.15."""


def machine_sounds(data: Path) -> pd.DataFrame:
    """Sounds of machines in four states, a second each in loud noise, and how much they tremble.

    A state is a pattern (a tone that stays, rises, falls, or wavers) somewhere between 300 and 1,200 Hz, of random
    level and start; noise is up to 30 times as strong. How much a machine trembles overlaps between states too: what
    sounds alike to one of the two is told apart by the other.
    """
    rng = np.random.default_rng(SEED)
    states = rng.permutation(np.arange(N) % len(STATES))
    at = np.arange(RATE) / RATE
    span = 0.6
    sounds = []
    for state in states:
        inside = (at >= (start := rng.uniform(0, 1 - span))) & (at < start + span)
        along = np.clip((at - start) / span, 0, 1)
        octaves = (0 * along, along, -along, 0.3 * np.sin(12 * np.pi * along))[state]
        hertz = rng.uniform(300, 1200) * 2.0**octaves
        wave = np.sin(2 * np.pi * np.cumsum(hertz) / RATE + rng.uniform(0, 6)) * inside
        noisy = 0.15 * rng.normal(size=len(at)) + 10 ** rng.uniform(*LEVELS) * wave
        sounds.append(encode_wav(noisy, RATE))
    tremble = rng.normal(np.array(TREMBLE)[states], 1.0)
    return pd.DataFrame({"sound": sounds, "tremble": tremble, "state": np.array(STATES)[states]})
