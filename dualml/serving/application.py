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
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dualml.errors import DataError
from dualml.serving.bodies import BodyReader
from dualml.serving.engine import Engine
from dualml.serving.gate import HEADERS, LABEL, Gate, error_response
from dualml.serving.inference_protocol import HEADER_LENGTH, read_request, write_answer
from dualml.serving.model import Arrays, Model
from dualml.serving.openapi import document
from dualml.serving.page import make_page
from dualml.serving.refusals import RefusedError, shown, wrong
from dualml.serving.settings import Settings
from dualml.serving.telemetry import CONTENT_TYPE, Telemetry
from dualml.serving.tensorflow_alias import read_predict, write_predictions

JSON = "application/json"
BINARY = "application/octet-stream"
JSON_TYPES = frozenset({b"", b"application/json", b"application/x-www-form-urlencoded"})
"""Media types of a JSON body: its own, none, and what ``curl -d`` says of every body."""

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
        """Every address; the ones asked most often come first."""
        routes: list[BaseRoute] = []

        def add(path: str, label: str, method: str, endpoint: Endpoint) -> None:
            async def labelled(request: Request) -> Response:
                request.scope[LABEL] = label
                return await endpoint(request)

            routes.append(Route(path, labelled, methods=[method]))

        for model in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
            add(f"{model}/infer", "infer", "POST", self.infer)
            add(f"{model}/ready", "model_ready", "GET", partial(self._fixed, {"ready": True}))
            add(model, "model_metadata", "GET", self._model_metadata)
        for model in ("/v1/models/{name}", "/v1/models/{name}/versions/{version}"):
            add(f"{model}:predict", "predict", "POST", self.predict)
            add(model, "model_status", "GET", self._status)
        add("/v2/health/live", "live", "GET", partial(self._fixed, {"live": True}))
        add("/v2/health/ready", "ready", "GET", partial(self._fixed, {"ready": True}))
        add("/v2", "server_metadata", "GET", partial(self._fixed, self._server))
        add("/metrics", "metrics", "GET", self._metrics)
        add("/openapi.json", "openapi", "GET", partial(self._fixed, self._document))
        add("/", "page", "GET", self._index)
        return routes

    async def infer(self, request: Request) -> Response:
        """Inference by the Open Inference Protocol."""
        self._check_model(request)
        headers = request.scope[HEADERS]
        length = headers.get(HEADER_LENGTH)
        _check_media_type(headers, {*JSON_TYPES, BINARY.encode()} if length is not None else JSON_TYPES)
        body = await self._body(request)
        asked = read_request(body, length, self.model, self.settings.rows)
        outputs = await self._outputs(asked.inputs, asked.rows)
        content, json_length = write_answer(asked, outputs, self.model)
        if json_length is None:
            return Response(content, media_type=JSON)
        return Response(content, headers={HEADER_LENGTH.decode(): str(json_length)}, media_type=BINARY)

    async def predict(self, request: Request) -> Response:
        """Inference by TensorFlow Serving's REST interface."""
        self._check_model(request)
        _check_media_type(request.scope[HEADERS], JSON_TYPES)
        asked = read_predict(await self._body(request), self.model, self.settings.rows)
        outputs = await self._outputs(asked.inputs, asked.rows)
        return Response(write_predictions(asked, outputs), media_type=JSON)

    async def _body(self, request: Request) -> bytes:
        length = request.scope[HEADERS].get(b"content-length")
        return await self._bodies.read(request.scope, request.receive, length)

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

    async def _fixed(self, value: Any, request: Request) -> Response:
        if "name" in request.path_params:
            self._check_model(request)
        return Response(msgspec.json.encode(value), media_type=JSON)

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


def _check_media_type(headers: dict[bytes, bytes], allowed: frozenset[bytes] | set[bytes]) -> None:
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind not in allowed:
        hint = " (with Inference-Header-Content-Length for binary tensors)" if kind == BINARY.encode() else ""
        raise RefusedError(415, f"the body must be {JSON}{hint}, but is {shown(kind.decode('latin-1'))}")
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


def application(model: Model, settings: Settings, telemetry: Telemetry | None = None) -> Starlette:
    """The application for a model.

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
        middleware=[Middleware(Gate, settings=settings, telemetry=telemetry)],
        exception_handlers={HTTPException: _http_error},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.service = service
    return app
