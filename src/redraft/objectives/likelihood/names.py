"""The estimators by name, as the command line gives them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ...core.errors import UnknownName
from ...core.traits import Traits
from .blockwise import Blockwise
from .density import Density
from .estimator import LogProbEstimator, default_estimator
from .ordered import AnyOrder, LeftToRight
from .sampled import Coupled, ExactCount, MonteCarlo, Quadrature, Stratified

ESTIMATORS: Mapping[str, LogProbEstimator] = MappingProxyType(
    {
        "monte_carlo": MonteCarlo(),
        "exact_count": ExactCount(),
        "stratified": Stratified(),
        "coupled": Coupled(),
        "quadrature": Quadrature(),
        "blockwise": Blockwise(),
        "any_order": AnyOrder(),
        "left_to_right": LeftToRight(),
        "uniform": Density(),
    }
)


def estimator_of(name: str | None, traits: Traits) -> tuple[str, LogProbEstimator]:
    """The estimator of a name, None: the model's default; UnknownName with a hint otherwise."""
    if name is None:
        chosen = default_estimator(traits)
        return next(one for one, value in ESTIMATORS.items() if value == chosen), chosen
    if name not in ESTIMATORS:
        raise UnknownName("estimator", name, ESTIMATORS)
    return name, ESTIMATORS[name]
