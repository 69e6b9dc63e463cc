"""NumPy files: plain numbers or text, exactly as many bytes as the header declares, and no pickle."""

from __future__ import annotations

from pathlib import Path

from dualml.data.arrays import check_header
from dualml.errors import DataError, GuardError
from dualml.guards import zip_archive
from dualml.guards.files import LARGEST, regular


def check(path: Path) -> None:
    """Refuse a ``.npy`` file whose header is not that of the numbers behind it.

    Raises:
        GuardError: Says what is wrong.
    """
    size = regular(path, LARGEST["npy"])
    try:
        with path.open("rb") as file:
            check_header(file, size, str(path))
    except DataError as error:
        raise GuardError(str(error)) from None
    except OSError as error:
        raise GuardError(f"{path}: must be readable, but is not: {error.strerror}; check its permissions") from None
    except Exception as error:  # NumPy's reader of headers raises what it likes
        raise GuardError(f"{path}: must be a .npy file, but its header is damaged: {_said(error)}") from None


def check_archive(path: Path) -> None:
    """Refuse an ``.npz`` archive that is no safe zip archive, or holds something else than plain arrays.

    Raises:
        GuardError: Says what is wrong.
    """
    with zip_archive.open_archive(path) as archive:
        for member in archive.infolist():
            where = f"{path}: array {member.filename.removesuffix('.npy')!r}"
            if not member.filename.endswith(".npy"):
                raise GuardError(f"{where}: members of an .npz archive must be .npy files")
            try:
                with archive.open(member) as stream:
                    check_header(stream, member.file_size, where)
            except DataError as error:
                raise GuardError(str(error)) from None
            except Exception as error:  # zipfile and zlib raise a dozen types for damaged archives
                raise GuardError(f"{where}: is damaged: {_said(error)}") from None


def _said(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
