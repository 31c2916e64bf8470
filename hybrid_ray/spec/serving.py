"""What a spec says of serving: limits, scaling, what is kept and watched, and when a model is trained again."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from hybrid_ray.documented import Documented


class ScaleSpec(Documented):
    """Autoscaling of one deployment."""

    min_replicas: int = Field(1, ge=0)
    max_replicas: int = Field(2, ge=1)
    target_ongoing_requests: float = Field(8, gt=0)


class LogSpec(Documented):
    """Requests and answers that are kept in the store; columns that ``data.redact`` names never are."""

    share: float = Field(0.1, ge=0, le=1)
    """Of the requests."""
    rows: int = Field(500, ge=1, le=100_000)
    """Rows of one file."""
    seconds: float = Field(10.0, gt=0)
    """Longest time until rows are written."""
    held: int = Field(5000, ge=1)
    """Rows that may wait for the store; more are dropped, and counted."""


class MonitorSpec(Documented):
    """Windows of logged rows, beside the rows that the version was scored on."""

    window: int = Field(500, ge=20, le=100_000)
    """Logged rows of a window."""
    level: float = Field(0.001, gt=0, lt=0.5)
    """Chance of an alarm for a window that has not drifted, however much is watched."""
    min_psi: float = Field(0.1, ge=0)
    """Population stability index below which a difference does not matter, however sure it is."""
    every_s: float = Field(10.0, gt=0)
    """Seconds between two looks at the log."""
    webhook: str | None = Field(None, pattern=r"^https?://")
    """Where alarms, and what canary rules decide, are put as JSON."""


class CanaryRule(Documented):
    """When a canary is promoted, and when it is taken back."""

    min_requests: int = Field(500, ge=1)
    """Requests that the canary must have answered before it is promoted."""
    max_error_rate: float = Field(0.01, gt=0, lt=1)
    """Share of its requests that may fail."""
    max_latency_ms: float | None = Field(None, gt=0)
    """What all but ``slow_share`` of its requests must take at most; None: latency does not decide."""
    slow_share: float = Field(0.05, gt=0, lt=1)
    """Share of its requests that may be slower."""
    margin: float | None = Field(None, ge=0)
    """How much worse its mean loss of a labelled row may be than the champion's; None: labels do not decide."""
    level: float = Field(0.05, gt=0, lt=0.5)
    """Chance of taking back one that keeps all limits, over all the time that is looked."""


class RetrainSpec(Documented):
    """When a model is trained again by itself, and what becomes of the new version."""

    on: tuple[Literal["drift", "score"], ...] = ("drift",)
    """drift: a window has drifted; score: rows with feedback score worse than ``floor``."""
    floor: float | None = None
    """Score, by the model's metric, that the last ``monitor.window`` labelled rows must keep."""
    min_labelled: int = Field(200, ge=20)
    """Fresh labelled rows without which nothing is trained."""
    holdout: float = Field(0.3, gt=0, lt=1)
    """Share of them, the last ones, that champion and challenger are compared on; the others are learned from."""
    every_s: float = Field(86_400.0, ge=0)
    """Least time between two trainings."""
    share: float = Field(0.1, gt=0, le=1)
    """Of the requests, that a challenger gets which is better."""
    rule: CanaryRule = CanaryRule()
    """Promotes that canary, or takes it back."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Other values of the spec for the training, as dotted paths: ``search.trials: 8``."""
    dry_run: bool = False
    """Only write down what would have been done."""

    @model_validator(mode="after")
    def _score_has_a_floor(self) -> Self:
        if "score" in self.on and self.floor is None:
            raise ValueError("floor must be given where a score starts a training")
        return self


class ServeSpec(Documented):
    """How the graph is served."""

    placement: Literal["auto", "split", "together"] = "auto"
    """split: a deployment for each extractor; together: everything in the ingress; auto: by measured cost."""
    max_batch_rows: int = Field(32, ge=1, le=4096)
    """Rows that an extractor replica takes in one pass."""
    batch_wait_s: float = Field(0.005, ge=0, le=1)
    """Longest wait for a batch to fill."""
    max_rows: int = Field(1024, ge=1)
    """Rows that one request may hold."""
    max_body_mb: float = Field(16.0, gt=0)
    """Size of a request above which the answer is 413."""
    max_pixels: int = Field(40_000_000, ge=1)
    """Pixels of an image above which it is refused."""
    max_sound_s: float = Field(600.0, gt=0)
    """Seconds that a sound may last."""
    max_queued: int = Field(64, ge=1)
    """Requests waiting above which the answer is 503."""
    timeout_s: float = Field(30.0, gt=0)
    """Time a request may take."""
    partial_s: float | None = Field(None, gt=0)
    """Seconds that an extractor with a deployment of its own may take: after these, or where it is away, rows are
    answered as if what it reads were missing, and the answer says so. None: such requests are not answered."""
    ready_timeout_s: float = Field(600.0, gt=0)
    """Time in which a version must be ready to answer."""
    log: LogSpec = LogSpec()
    monitor: MonitorSpec = MonitorSpec()
    retrain: RetrainSpec | None = None
    """None: nothing is trained by itself."""
    explain_rows: int = Field(8, ge=0)
    """Rows that one request may have explained; 0: none are."""
    explain_s: float = Field(2.0, gt=0)
    """What the explanation of a row may take, roughly: columns are left out where it takes longer."""
    required: tuple[str, ...] = ()
    """Columns that every row of a request must hold; any other may be left out: its modality is then missing."""
    ingress: ScaleSpec = ScaleSpec(target_ongoing_requests=16)
    extractors: ScaleSpec = ScaleSpec()
