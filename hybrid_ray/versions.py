"""Versions of the packages behind a run, as its report, its artifact and ``doctor`` tell them."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, packages_distributions, version


def version_of(package: str) -> str:
    """Version of an installed package.

    A package may come under another name with the same module in it, as ``xgboost-cpu`` brings ``xgboost``.

    Raises
    ------
    PackageNotFoundError
        Nothing installed has the name or brings a module of that name.
    """
    try:
        return version(package)
    except PackageNotFoundError:
        others = packages_distributions().get(package, ())
        if not others:
            raise
        return version(others[0])


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """Versions of those packages that are installed, by name."""
    found = {}
    for package in packages:
        try:
            found[package] = version_of(package)
        except PackageNotFoundError:
            continue
    return found
