"""Which backends there are. Built-in ones and third parties' enter by the same door: an entry point."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import metadata
from importlib.util import find_spec

from dualml.errors import BackendError, BackendNotFoundError, BackendUnavailableError, UnsupportedError
from dualml.protocol import Backend, Capabilities
from dualml.spec.config import Spec
from dualml.spelling import nearest

GROUP = "dualml.backends"
"""The entry-point group: ``name = "package:object"``."""

FRAMEWORKS = {"torch": ("torch",), "tensorflow": ("tensorflow", "keras")}
"""Packages of the built-in backends' extras: if one of them is missing, the install line is the remedy."""


def names() -> list[str]:
    """Names of all known backends, sorted; none is imported."""
    return sorted({point.name for point in metadata.entry_points(group=GROUP)})


def load_order(name: str) -> tuple[int, str]:
    """Sort key for loading several backends into one process.

    PyTorch before TensorFlow: the other order has aborted or hung with some versions (pytorch/pytorch#101152,
    #93884), and Keras' own tests import torch first.
    """
    known = list(FRAMEWORKS)
    return (known.index(name) if name in known else len(known), name)


def require(name: str) -> None:
    """Refuse a backend that is unknown or whose framework is not installed, without importing anything.

    Raises:
        BackendNotFoundError: No such entry point.
        BackendUnavailableError: Its framework is not installed.
    """
    if name not in names():
        raise BackendNotFoundError(f"no backend is named {name!r}{nearest(name, names())}")
    for package in FRAMEWORKS.get(name, ()):
        if find_spec(package) is None:
            raise BackendUnavailableError(_not_installed(name, package))


def _not_installed(name: str, package: str) -> str:
    remedy = f"run: pip install 'dualml[{name}]'" if name in FRAMEWORKS else f"install the package {package}"
    return f"backend {name!r} needs the package {package!r}, which is not installed; {remedy}"


def load(name: str) -> Backend:
    """The backend of a name; imports its framework.

    Raises:
        BackendNotFoundError: No such entry point.
        BackendUnavailableError: Its framework is not installed, or refuses to run.
    """
    points = sorted(metadata.entry_points(group=GROUP, name=name), key=lambda point: point.value)
    if not points:
        raise BackendNotFoundError(f"no backend is named {name!r}{nearest(name, names())}")
    if len({point.value for point in points}) > 1:
        found = ", ".join(point.value for point in points)
        raise BackendError(f"more than one package provides the backend {name!r}: {found}; uninstall all but one")
    try:
        backend = points[0].load()
    except ModuleNotFoundError as error:
        # Only a missing framework is "not installed"; a missing module of the adapter's own is a bug to be seen.
        missing = (error.name or "").partition(".")[0]
        frameworks = FRAMEWORKS.get(name)
        if frameworks is not None and missing not in frameworks:
            raise
        raise BackendUnavailableError(_not_installed(name, missing)) from error
    if not isinstance(backend, Backend):
        raise BackendError(
            f"the entry point {points[0].value!r} of backend {name!r} is not a dualml.protocol.Backend: "
            f"it must have name, capabilities, versions and build, got {type(backend).__name__}"
        )
    if not isinstance(backend.capabilities, Capabilities):
        raise BackendError(
            f"backend {name!r}: capabilities must be a dualml.protocol.Capabilities, "
            f"got {type(backend.capabilities).__name__}"
        )
    return backend


def check(backend: Backend, spec: Spec) -> None:
    """Refuse a spec that needs what a backend does not declare.

    Raises:
        UnsupportedError: Lists every part that is missing.
    """
    missing = list(_missing(backend.capabilities, spec))
    if missing:
        raise UnsupportedError(
            f"backend {backend.name!r} does not support {', '.join(missing)}; "
            "use another backend or change the config (dualml backends shows what each can do)"
        )


def _missing(able: Capabilities, spec: Spec) -> Iterable[str]:
    resolved = spec.resolved
    for node in spec.graph.nodes:
        if node.operation not in able.operations:
            yield f"the layer {node.operation!r} ({node.path})"
        elif node.operation == "activation" and node.settings.function.kind not in able.activations:
            yield f"the activation {node.settings.function.kind!r} ({node.path})"
    for item in resolved.ordered_losses:
        if item.loss.kind not in able.losses:
            yield f"the loss {item.loss.kind!r}"
    if resolved.optimizer.kind not in able.optimizers:
        yield f"the optimizer {resolved.optimizer.kind!r}"
    if resolved.precision not in able.precisions:
        yield f"precision {resolved.precision}"
    if resolved.device not in able.devices:
        yield f"device {resolved.device} (this machine has none that its framework sees)"
    if resolved.randomness == "native" and spec.graph.dropouts and not able.native_randomness:
        yield "native randomness"
