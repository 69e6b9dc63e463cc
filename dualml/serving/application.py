"""The addresses a server answers, as a Starlette application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import msgspec
import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope

from dualml.errors import DataError
from dualml.serving.bodies import BodyReader
from dualml.serving.engine import Engine
from dualml.serving.gate import HEADERS, LABEL, Direct, Gate, error_response
from dualml.serving.inference_protocol import HEADER_LENGTH, read_request, write_answer
from dualml.serving.model import Arrays, Model
from dualml.serving.openapi import document
from dualml.serving.page import make_page
from dualml.serving.refusals import RefusedError, failed, shown, wrong
from dualml.serving.settings import Settings
from dualml.serving.telemetry import CONTENT_TYPE, Telemetry
from dualml.serving.tensorflow_alias import read_predict, write_predictions

JSON = b"application/json"
BINARY = b"application/octet-stream"
JSON_TYPES = frozenset({b"", JSON, b"application/x-www-form-urlencoded"})
"""Media types of a JSON body: its own, none, and what ``curl -d`` says of every body."""
JSON_OR_BINARY = JSON_TYPES | {BINARY}

Endpoint = Callable[[Request], Awaitable[Response]]


class Service:
    """What answers the requests for one model."""

    def __init__(self, model: Model, settings: Settings, telemetry: Telemetry) -> None:
        from dualml import __version__

        self.model, self.settings, self.telemetry = model, settings, telemetry
        self.engine = Engine(model, settings, telemetry)
        self._bodies = BodyReader(settings)
        telemetry.gauges["dualml_body_bytes_held"] = (
            "Bytes of bodies that are being read.",
            lambda: self._bodies.held,
        )
        self._server = {"name": "dualml", "version": __version__, "extensions": ["binary_tensor_data"]}
        self._page = make_page(model, settings)
        self._document = document(model, settings)

    def routes(self) -> list[BaseRoute]:
        """Every address, for the application."""
        routes: list[BaseRoute] = []

        def add(path: str, label: str, method: str, endpoint: Endpoint) -> None:
            async def labelled(request: Request) -> Response:
                request.scope[LABEL] = label
                return await endpoint(request)

            routes.append(Route(path, labelled, methods=[method]))

        for model in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
            add(f"{model}/infer", "infer", "POST", self._other_model)
            add(f"{model}/ready", "model_ready", "GET", partial(self._fixed, {"ready": True}))
            add(model, "model_metadata", "GET", self._model_metadata)
        for model in ("/v1/models/{name}", "/v1/models/{name}/versions/{version}"):
            add(f"{model}:predict", "predict", "POST", self._other_model)
            add(model, "model_status", "GET", self._status)
        add("/v2/health/live", "live", "GET", partial(self._fixed, {"live": True}))
        add("/v2/health/ready", "ready", "GET", partial(self._fixed, {"ready": True}))
        add("/v2", "server_metadata", "GET", partial(self._fixed, self._server))
        add("/metrics", "metrics", "GET", self._metrics)
        add("/openapi.json", "openapi", "GET", partial(self._fixed, self._document))
        add("/", "page", "GET", self._index)
        return routes

    def direct(self) -> dict[str, tuple[str, Direct]]:
        """The addresses of predictions, which are asked most often, for the gate."""
        found: dict[str, tuple[str, Direct]] = {}
        for suffix in ("", f"/versions/{self.model.version}"):
            found[f"/v2/models/{self.model.name}{suffix}/infer"] = "infer", self.infer
            found[f"/v1/models/{self.model.name}{suffix}:predict"] = "predict", self.predict
        return found

    async def infer(self, scope: Scope, receive: Receive) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        """Inference by the Open Inference Protocol."""
        headers = scope[HEADERS]
        length = headers.get(HEADER_LENGTH)
        _check_media_type(headers, JSON_TYPES if length is None else JSON_OR_BINARY)
        body = await self._bodies.read(scope, receive, headers.get(b"content-length"))
        asked = read_request(body, length, self.model, self.settings.rows)
        outputs = await self._outputs(asked.inputs, asked.rows)
        content, json_length = write_answer(asked, outputs, self.model)
        if json_length is None:
            return content, [(b"content-type", JSON)]
        return content, [(b"content-type", BINARY), (HEADER_LENGTH, b"%d" % json_length)]

    async def predict(self, scope: Scope, receive: Receive) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        """Inference by TensorFlow Serving's REST interface."""
        headers = scope[HEADERS]
        _check_media_type(headers, JSON_TYPES)
        body = await self._bodies.read(scope, receive, headers.get(b"content-length"))
        asked = read_predict(body, self.model, self.settings.rows)
        outputs = await self._outputs(asked.inputs, asked.rows)
        return write_predictions(asked, outputs), [(b"content-type", JSON)]

    async def _outputs(self, inputs: Arrays, rows: int) -> Arrays:
        try:
            prepared = self.model.prepare(inputs)
        except DataError as error:
            raise wrong(str(error)) from None
        outputs = await self.engine.run(prepared, rows)
        for name, array in outputs.items():
            if not np.isfinite(array).all():
                raise wrong(f"the inputs are too large for the model: output {shown(name)} is not finite for them")
        return outputs

    def _check_model(self, request: Request) -> None:
        name, version = request.path_params["name"], request.path_params.get("version", self.model.version)
        if name != self.model.name:
            raise RefusedError(404, f"there is no model {shown(name)}; this server has {self.model.name!r}")
        if version != self.model.version:
            own = f"{self.model.name!r} has version {self.model.version!r}"
            raise RefusedError(404, f"there is no version {shown(version)}; {own}")

    async def _other_model(self, request: Request) -> Response:
        self._check_model(request)
        raise AssertionError("the gate answers this model's own addresses")

    async def _fixed(self, value: Any, request: Request) -> Response:
        if "name" in request.path_params:
            self._check_model(request)
        return Response(msgspec.json.encode(value), media_type=JSON.decode())

    async def _model_metadata(self, request: Request) -> Response:
        return await self._fixed(self.model.metadata(), request)

    async def _status(self, request: Request) -> Response:
        fine = {"error_code": "OK", "error_message": ""}
        state = {"version": self.model.version, "state": "AVAILABLE", "status": fine}
        return await self._fixed({"model_version_status": [state]}, request)

    async def _metrics(self, request: Request) -> Response:
        return Response(
            self.telemetry.text(self.model.name, self.model.version), headers={"content-type": CONTENT_TYPE}
        )

    async def _index(self, request: Request) -> Response:
        headers = {
            "content-security-policy": self._page.policy,
            "referrer-policy": "no-referrer",
            "cache-control": "no-cache",
        }
        return Response(self._page.html, headers=headers, media_type="text/html")


def _check_media_type(headers: dict[bytes, bytes], allowed: frozenset[bytes]) -> None:
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind not in allowed:
        hint = " (with Inference-Header-Content-Length for binary tensors)" if kind == BINARY else ""
        raise RefusedError(415, f"the body must be {JSON.decode()}{hint}, but is {shown(kind.decode('latin-1'))}")
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding != b"identity":
        raise RefusedError(415, f"the body must not be compressed, but is {shown(encoding.decode('latin-1'))}")


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # it is what this handler is registered for
    if error.status_code == 404:
        message = "there is nothing at this address; /openapi.json lists those there are"
    elif error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        message = f"this address takes {allowed}, not {request.method}"
    else:
        message = error.detail
    return error_response(RefusedError(error.status_code, message, dict(error.headers or {})))


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)  # as above
    return error_response(error)


async def _failed(_: Request, __: Exception) -> Response:
    return error_response(failed())  # the exception goes on to the gate, which logs it


def application(model: Model, settings: Settings, telemetry: Telemetry | None = None) -> Gate:
    """The application for a model, behind its gate.

    Args:
        model: What is served.
        settings: Limits and access.
        telemetry: Where requests are counted; left out, a new one.

    Raises:
        ServingError: Batching is asked for a model that does not allow it.
    """
    telemetry = telemetry or Telemetry()
    service = Service(model, settings, telemetry)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        service.engine.start()
        yield
        service.engine.stop()

    app = Starlette(
        routes=service.routes(),
        exception_handlers={HTTPException: _http_error, RefusedError: _refused, Exception: _failed},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return Gate(app, service.direct(), settings, telemetry)
