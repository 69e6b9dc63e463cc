"""``dualml serve``: an artefact behind HTTP until a signal comes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from dualml.errors import BackendUnavailableError, ServingError

TOKEN_VARIABLE = "DUALML_TOKEN"
LONGEST_TOKEN_FILE = 4096


def run_serve(
    path: Path,
    name: str | None,
    version: str,
    token_file: Path | None,
    *,
    quiet: bool,
    **limits: object,
) -> None:
    """Serve an artefact with the given settings; those that are ``None`` keep their defaults.

    Raises:
        DualmlError: The artefact, a setting or the address is not usable.
    """
    from dualml.artefact.open import open_artefact
    from dualml.serving.settings import Settings

    chosen = {key: value for key, value in limits.items() if value is not None}
    settings = Settings(token=read_token(token_file), **chosen)  # type: ignore[arg-type]
    artefact = open_artefact(path)
    try:
        from dualml.serving.from_artefact import from_artefact
        from dualml.serving.server import serve
    except ImportError as error:
        raise BackendUnavailableError(
            f"serving needs Starlette, uvicorn, httptools and msgspec, but {error.name or error} cannot be imported; "
            "run: pip install 'dualml[serve]'"
        ) from None
    model = from_artefact(artefact, name=name, version=version)
    if not settings.loopback and settings.token is None:
        print(
            f"dualml: warning: anyone who reaches {settings.host} can use this server; set a token "
            f"(--token-file or the variable {TOKEN_VARIABLE})",
            file=sys.stderr,
        )

    def ready(address: str) -> None:
        if not quiet:
            print(f"{model.name} at {address}  (page: {address}/  description: {address}/openapi.json)")
            print("Ctrl-C stops", flush=True)

    serve(model, settings, ready)


def read_token(file: Path | None) -> str | None:
    """The token in a file or in the environment; a command line would show it to every user of the machine.

    Raises:
        ServingError: The file cannot be read or is too long.
    """
    if file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        with file.open(encoding="utf-8") as stream:
            text = stream.read(LONGEST_TOKEN_FILE)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8"
        raise ServingError(f"--token-file {file}: must be a file with the token alone: {reason}") from None
    return text.strip()
