"""A third party's plugin, as the tests install it: an extractor that hashes, keeps a log, and misbehaves on demand."""

import os
import signal
import sys
import time
import uuid
from pathlib import Path

import numpy as np
from pydantic import Field

from hybrid_ray.digests import digest_bytes
from hybrid_ray.errors import ArtifactError, BadInputError
from hybrid_ray.extractors._tuned_transformers import TunedTransformersExtractor, TunedTransformersParams
from hybrid_ray.extractors.base import Extractor, ExtractorTags
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.types import Prepared, State


class ToyParams(PluginParams):
    width: int = Field(8, ge=1, le=32)
    """Numbers of a row."""
    log: str = ""
    """Folder where every extract call notes how many rows it saw."""
    dies_once: str = ""
    """File that is made by the first process to meet a row ``boom``, which then dies."""
    seconds: float = Field(0.0, ge=0, le=60)
    """Time that each row takes."""
    fault: str = ""
    """die, exit, raise: a row ``boom`` ends the process, calls sys.exit, raises; setup: the model cannot be loaded."""


@EXTRACTORS.register("toy")
class Toy(Extractor):
    tags = ExtractorTags(modality="text", kinds=frozenset({"text", "numeric"}), gpu=True)
    Params = ToyParams

    def identity(self):
        return {"width": self.params.width}

    def prepare(self, batch):
        columns = [batch[name] for name in self.columns]
        texts = [" ".join("" if v is None or v != v else str(v) for v in row) for row in zip(*columns, strict=True)]
        errors = {i: "begins with bad" for i, text in enumerate(texts) if text.startswith("bad")}
        present = np.array([bool(text.strip()) and i not in errors for i, text in enumerate(texts)], bool)
        kept = [text for text, there in zip(texts, present, strict=True) if there]
        return Prepared({"texts": np.array(kept, object)}, present, errors)

    def setup(self, device="cpu"):
        if self.params.fault == "setup":
            raise ArtifactError("toy: weights must be of this architecture; got another")

    def extract(self, arrays):
        texts = arrays["texts"]
        if self.params.log:
            Path(self.params.log, f"{uuid.uuid4().hex}").write_text(str(len(texts)))
        if any("boom" in text for text in texts):
            self._boom()
        time.sleep(self.params.seconds * len(texts))
        rows = [np.frombuffer(bytes.fromhex(digest_bytes(text.encode())) * 2, np.uint8) for text in texts]
        values = np.array(rows, np.float32).reshape(len(texts), 32)[:, : self.params.width]
        return values / np.float32(255)

    def _boom(self):
        marker = Path(self.params.dies_once or "none")
        if self.params.dies_once and not marker.exists():
            marker.touch()
            os._exit(9)
        if self.params.fault == "die":
            os._exit(9)
        if self.params.fault == "exit":
            sys.exit(3)
        if self.params.fault == "raise":
            raise ValueError("toy: cannot stand boom")

    @property
    def n_features(self):
        return self.params.width

    def get_state(self):
        return State()

    @classmethod
    def from_state(cls, params, columns, state):
        return cls(params, columns)


_BESIDE = ("log", "dies_after", "refuses")
"""Parameters of ``mortal`` that change nothing of what is learned."""


class MortalParams(TunedTransformersParams):
    """Parameters of ``mortal``."""

    log: str = ""
    """Folder where every step of a training leaves a file."""
    dies_after: int = Field(0, ge=0)
    """Steps after which one process, once, is killed; 0: none is."""
    refuses: bool = False
    """True: the first step of every worker says that the parameters will not do."""


@EXTRACTORS.register("mortal")
class Mortal(TunedTransformersExtractor):
    """A tuned encoder whose training is killed once."""

    Params = MortalParams

    def identity(self):
        return {name: value for name, value in super().identity().items() if name not in _BESIDE}

    @property
    def augmented(self):
        return True

    def augment(self, items, rng):
        folder = Path(self.params.log)
        (folder / uuid.uuid4().hex).touch()
        if self.params.refuses:
            raise BadInputError("lr: must be smaller")
        if 0 < self.params.dies_after <= len(list(folder.iterdir())):
            try:
                (folder.parent / "killed").touch(exist_ok=False)
            except FileExistsError:
                return dict(items)
            os.kill(os.getpid(), signal.SIGKILL)
        return dict(items)
