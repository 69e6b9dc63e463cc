"""Zip archives: what their directory declares, before anything in them is unpacked."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path, PurePosixPath

from dualml.errors import GuardError
from dualml.guards.files import LARGEST, MIB, regular

MOST_MEMBERS = 4096
MOST_UNPACKED = 16 << 30
"""Bytes all members together may declare."""
LARGEST_RATIO = 200
"""How many times its packed size a member may declare, where it is more than ``FREE``; text and weights stay below."""
FREE = 16 * MIB
_LOCAL_HEADER = 30


def check(path: Path) -> None:
    """Refuse an archive that would unpack out of proportion or outside its folder, or that means two things.

    Raises:
        GuardError: Says what is wrong.
    """
    with open_archive(path):
        pass


def open_archive(path: Path) -> zipfile.ZipFile:
    """A checked archive.

    Raises:
        GuardError: Says what is wrong.
    """
    size = regular(path, LARGEST["zip"])
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # of a damaged directory also NotImplementedError, UnicodeDecodeError, struct.error
        said = str(error) or type(error).__name__
        raise GuardError(f"{path}: must be a zip archive, but its directory cannot be read: {said}") from None
    try:
        _check_members(archive, size, str(path))
    except BaseException:
        archive.close()
        raise
    return archive


def _check_members(archive: zipfile.ZipFile, size: int, where: str) -> None:
    members = archive.infolist()
    if len(members) > MOST_MEMBERS:
        raise GuardError(f"{where}: must have at most {MOST_MEMBERS:,} members, but has {len(members):,}")
    names: set[str] = set()
    total = 0
    for member in members:
        name = member.filename
        _check_name(member, where)
        if name in names:
            raise GuardError(f"{where}: the member {name!r} stands there twice, so it has two meanings")
        names.add(name)
        if member.flag_bits & 1:
            raise GuardError(f"{where}: member {name!r} is encrypted")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise GuardError(f"{where}: member {name!r} must be stored or deflated, but is packed in another way")
        if member.file_size > FREE and member.file_size > LARGEST_RATIO * max(1, member.compress_size):
            raise GuardError(
                f"{where}: member {name!r} declares {member.file_size:,} bytes unpacked from {member.compress_size:,}; "
                f"at most {LARGEST_RATIO} times as many are allowed"
            )
        total += member.file_size
    if total > MOST_UNPACKED:
        raise GuardError(f"{where}: declares {total:,} bytes unpacked; at most {MOST_UNPACKED:,} are allowed")
    _check_places(members, size, where)


def _check_name(member: zipfile.ZipInfo, where: str) -> None:
    name = member.orig_filename
    parts = PurePosixPath(name).parts
    if not name or "\\" in name or "\0" in name or ":" in name or name.startswith("/") or ".." in parts:
        raise GuardError(f"{where}: member {name[:80]!r} must be a relative path inside the archive")
    mode = member.external_attr >> 16
    if mode and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_IFMT(mode) == 0):
        raise GuardError(f"{where}: member {name[:80]!r} must be a file, but is a link or device")


def _check_places(members: list[zipfile.ZipInfo], size: int, where: str) -> None:
    """No two members share bytes: that is how a small archive unpacks to a very large one."""
    end = 0
    for member in sorted(members, key=lambda item: item.header_offset):
        if member.header_offset < end:
            raise GuardError(f"{where}: member {member.filename!r} shares bytes with the one before it")
        end = member.header_offset + _LOCAL_HEADER + member.compress_size
        if end > size:
            raise GuardError(f"{where}: member {member.filename!r} ends behind the end of the file")
