"""The request: one validated document. Imports neither ray nor torch."""

from hybrid_ray.spec.document import parse_override
from hybrid_ray.spec.dump import dump_yaml
from hybrid_ray.spec.load import load_spec
from hybrid_ray.spec.model import (
    SPEC_VERSION,
    CombinerSpec,
    DataFusionSpec,
    DataSpec,
    EnsembleSpec,
    EstimatorSpec,
    ExtractorSpec,
    FusionSpec,
    GraphSpec,
    HalvingSpec,
    PreparationSpec,
    Resources,
    SearchSpec,
    SmokeSpec,
    Spec,
    SplitSpec,
    TargetSpec,
)
from hybrid_ray.spec.schema import spec_schema
from hybrid_ray.spec.series import CovariatesSpec, SeriesSpec
from hybrid_ray.spec.serving import CanaryRule, LogSpec, MonitorSpec, RetrainSpec, ScaleSpec, ServeSpec
from hybrid_ray.spec.smoke import smoke_form

__all__ = [
    "SPEC_VERSION",
    "CanaryRule",
    "CombinerSpec",
    "CovariatesSpec",
    "DataFusionSpec",
    "DataSpec",
    "EnsembleSpec",
    "EstimatorSpec",
    "ExtractorSpec",
    "FusionSpec",
    "GraphSpec",
    "HalvingSpec",
    "LogSpec",
    "MonitorSpec",
    "PreparationSpec",
    "Resources",
    "RetrainSpec",
    "ScaleSpec",
    "SearchSpec",
    "SeriesSpec",
    "ServeSpec",
    "SmokeSpec",
    "Spec",
    "SplitSpec",
    "TargetSpec",
    "dump_yaml",
    "load_spec",
    "parse_override",
    "smoke_form",
    "spec_schema",
]
