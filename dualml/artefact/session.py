"""ONNX Runtime: a model's bytes as something that runs. Neither framework is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dualml.errors import ArtefactError, BackendUnavailableError

if TYPE_CHECKING:
    from dualml.protocol import Array, Arrays

_FATAL_ONLY = 4
_DTYPES = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(int64)": "int64"}


def import_runtime() -> Any:
    """The module ``onnxruntime``.

    Raises:
        BackendUnavailableError: It is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendUnavailableError(
            f"predicting from an artefact needs ONNX Runtime, which cannot be imported ({error}); "
            "run: pip install 'dualml[serve]'"
        ) from None
    return onnxruntime


@dataclass(frozen=True)
class Port:
    """One input or output as the ONNX model declares it.

    Attributes:
        dtype: NumPy's name of it, or ONNX Runtime's where there is none.
        shape: With the axis of examples; a number, or the name of a length that is not fixed.
    """

    dtype: str
    shape: tuple[int | str | None, ...]

    @classmethod
    def of(cls, item: Any) -> Port:
        """What ONNX Runtime says of it."""
        return cls(_DTYPES.get(item.type, item.type), tuple(item.shape))

    def is_one_of(self, dtype: str, shape: tuple[int, ...]) -> bool:
        """Whether examples of a dtype and shape go with it; a length that is not fixed is any."""
        own = self.shape[1:]
        return (
            self.dtype == dtype
            and len(own) == len(shape)
            and all(not isinstance(length, int) or length == given for length, given in zip(own, shape, strict=True))
        )


class Session:
    """A model that is ready to run; may be used by several threads at once.

    Attributes:
        inputs: What it takes, by name, in the model's order.
        outputs: What it gives.

    Args:
        model: The ONNX file's bytes.
        threads: How many threads work on one call.
        where: What it is, for messages.

    Raises:
        ArtefactError: ONNX Runtime cannot load it.
        BackendUnavailableError: ONNX Runtime is not installed.
    """

    def __init__(self, model: bytes, *, threads: int = 1, where: str = "model.onnx") -> None:
        runtime = import_runtime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _FATAL_ONLY  # what is wrong comes as an exception; nothing is printed
        self.where = where
        try:
            self.native = runtime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise ArtefactError(f"{where}: ONNX Runtime cannot load it: {_first_line(error)}") from None
        self.inputs = {item.name: Port.of(item) for item in self.native.get_inputs()}
        self.outputs = {item.name: Port.of(item) for item in self.native.get_outputs()}

    def run(self, inputs: Arrays, outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """One pass.

        Args:
            inputs: Every input by name, in the model's dtypes, shape ``(n, *shape)``.
            outputs: Which outputs; left out, all.

        Raises:
            ArtefactError: ONNX Runtime fails.
        """
        names = list(self.outputs if outputs is None else outputs)
        try:
            found = self.native.run(names, dict(inputs))
        except Exception as error:  # as above
            raise ArtefactError(f"{self.where}: ONNX Runtime cannot run it: {_first_line(error)}") from None
        return dict(zip(names, found, strict=True))


def run_in_batches(session: Session, inputs: Mapping[str, Array], names: Sequence[str], size: int) -> dict[str, Array]:
    """Several passes of at most ``size`` examples each."""
    import numpy as np

    count = len(next(iter(inputs.values())))
    pieces = [
        session.run({name: array[start : start + size] for name, array in inputs.items()}, names)
        for start in range(0, count, size)
    ]
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in names}


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:300]
