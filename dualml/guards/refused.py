"""Formats that are never opened: they hold code, or instructions for a program that runs with the user's rights."""

from __future__ import annotations

from pathlib import Path

from dualml.errors import GuardError

_PICKLE = "hold a pickle, which runs code when it is read; write the weights as safetensors instead"
_HDF5 = "can name other files and sizes of any kind; write the weights as safetensors instead"
ENDINGS = {
    **dict.fromkeys((".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle", ".joblib", ".dill"), _PICKLE),
    ".pt2": "hold pickles, and PyTorch's reader of them runs what they say; export the run again instead",
    **dict.fromkeys((".h5", ".hdf5"), _HDF5),
    ".pb": "of TensorFlow are programs, which can read and write files when they are called; export the run again",
    **dict.fromkeys((".tflite", ".mlmodel", ".engine", ".plan"), "are read by no part of dualml; use the artefact"),
    **dict.fromkeys((".py", ".so", ".dll"), "are programs; nothing a model needs is one"),
}
"""Why files of an ending are refused unread."""
SIGNATURES = {
    b"\x80\x02": "is a pickle",
    b"\x80\x03": "is a pickle",
    b"\x80\x04": "is a pickle",
    b"\x80\x05": "is a pickle",
    b"\x89HDF\r\n\x1a\n": "is an HDF5 file",
    b"\x7fELF": "is a program",
    b"MZ": "is a program",
    b"#!": "is a program",
}
"""What files that are never opened begin with, whatever their name."""
LONGEST_SIGNATURE = max(map(len, SIGNATURES))


def check_ending(path: Path) -> None:
    """Refuse a file for the ending of its name.

    Raises:
        GuardError: Says why.
    """
    why = ENDINGS.get(path.suffix.lower())
    if why is not None:
        raise GuardError(f"{path}: is refused unread: {path.suffix.lower()} files {why}")


def check_signature(start: bytes, where: str) -> None:
    """Refuse content for its first bytes.

    Raises:
        GuardError: Says what it is.
    """
    for signature, what in SIGNATURES.items():
        if start.startswith(signature):
            raise GuardError(f"{where}: is refused unread: by its first bytes it {what}, whatever its name says")


def check_start(path: Path) -> None:
    """Refuse a regular file for its first bytes."""
    try:
        with path.open("rb") as file:
            start = file.read(LONGEST_SIGNATURE)
    except OSError as error:
        raise GuardError(f"{path}: must be readable, but is not: {error.strerror}; check its permissions") from None
    check_signature(start, str(path))


def check_folder(path: Path) -> None:
    """Refuse a folder that is a saved program.

    Raises:
        GuardError: It is a SavedModel.
    """
    for name in ("saved_model.pb", "saved_model.pbtxt"):
        if (path / name).exists() or (path / name).is_symlink():
            raise GuardError(
                f"{path}: is refused unread: SavedModels are programs, which can read and write files when they are "
                "called; use the artefact or the run they were exported from"
            )
