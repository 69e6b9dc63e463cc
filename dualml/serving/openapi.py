"""The OpenAPI description of a server: its addresses with the model's own names, shapes and an example."""

from __future__ import annotations

from typing import Any

from dualml.serving.model import Model
from dualml.serving.settings import Settings
from dualml.serving.tensors import Tensor, element_type

JSON_KINDS = {str: "string", bool: "boolean", int: "integer", float: "number"}
_ERRORS = {
    400: "The request does not fit the protocol or the model.",
    403: "The request comes from a page of another site.",
    404: "There is no such model, version or address.",
    405: "The address does not take this method.",
    408: "The request did not arrive in time.",
    413: "The body is too long, or holds too many examples.",
    414: "The address is too long.",
    415: "The body has another media type, or is compressed.",
    421: "The server is not known by the name in Host.",
    431: "The head of the request is too long.",
    503: "The server is busy; the header Retry-After says when to come back.",
}
_ALWAYS = (400, 405, 408, 414, 421, 431, 503)


def document(model: Model, settings: Settings) -> dict[str, Any]:
    """The description, as OpenAPI 3.1 wants it."""
    from dualml import __version__

    described = _Description(model, settings)
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": f"dualml: {model.name}",
            "version": __version__,
            "summary": "Inference by the Open Inference Protocol, version 2, or as TensorFlow Serving answers.",
        },
        "paths": described.paths(),
        "components": {"schemas": described.schemas()},
    }
    if settings.token is not None:
        found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"token": []}]
    return found


class _Description:
    def __init__(self, model: Model, settings: Settings) -> None:
        self.model, self.settings = model, settings

    def paths(self) -> dict[str, Any]:
        name, version = self.model.name, self.model.version
        paths: dict[str, Any] = {
            "/v2/health/live": self.get("live", "Whether the server runs.", _flag("live"), open_to_all=True),
            "/v2/health/ready": self.get("ready", "Whether it can answer.", _flag("ready"), open_to_all=True),
            "/v2": self.get("serverMetadata", "What the server is.", {"type": "object"}),
            "/metrics": self.get("metrics", "Counts and times for Prometheus.", {"type": "string"}, "text/plain"),
            "/openapi.json": self.get("description", "This document.", {"type": "object"}),
        }
        for suffix, tail in (("", ""), (f"/versions/{version}", "OfVersion")):
            model = f"/v2/models/{name}{suffix}"
            status = _flag_object("model_version_status", {"type": "array", "items": {"type": "object"}})
            paths[model] = self.get(f"modelMetadata{tail}", "What the model takes and gives.", _reference("Metadata"))
            paths[f"{model}/ready"] = self.get(f"modelReady{tail}", "Whether it can answer.", _flag("ready"))
            infer = self.post(f"infer{tail}", "Predict.", "Inference")
            infer["post"]["responses"]["200"].update(_BINARY_TOO)
            infer["post"]["responses"]["200"]["content"]["application/octet-stream"] = {}
            paths[f"{model}/infer"] = infer
            status_path = f"/v1/models/{name}{suffix}"
            paths[status_path] = self.get(f"modelStatus{tail}", "State of the model, as TensorFlow Serving.", status)
            paths[f"{status_path}:predict"] = self.post(f"predict{tail}", "Predict, as TensorFlow Serving.", "Predict")
        return paths

    def get(
        self, name: str, summary: str, schema: Any, media: str = "application/json", *, open_to_all: bool = False
    ) -> dict[str, Any]:
        operation = {"operationId": name, "summary": summary, "responses": self.responses(schema, media, ())}
        return {"get": {**operation, "security": []} if open_to_all else operation}

    def post(self, name: str, summary: str, schema: str) -> dict[str, Any]:
        content = {"application/json": {"schema": _reference(f"{schema}Request"), "example": self.example(schema)}}
        responses = self.responses(_reference(f"{schema}Answer"), "application/json", (403, 404, 413, 415))
        return {
            "post": {
                "operationId": name,
                "summary": summary,
                "requestBody": {"required": True, "content": content},
                "responses": responses,
            }
        }

    def responses(self, schema: Any, media: str, more: tuple[int, ...]) -> dict[str, Any]:
        answers: dict[str, Any] = {"200": {"description": "The answer.", "content": {media: {"schema": schema}}}}
        unauthorised = {401: "The token is missing or wrong."} if self.settings.token is not None else {}
        texts = {**_ERRORS, **unauthorised}
        for status in sorted({*_ALWAYS, *more, *unauthorised}):
            content = {"application/json": {"schema": _reference("Error")}}
            answers[str(status)] = {"description": texts[status], "content": content}
        return answers

    def schemas(self) -> dict[str, Any]:
        tensors = [self.tensor(item) for item in self.model.inputs]
        count = len(tensors)
        columns = {item.name: _nested(item, 1 + len(item.shape)) for item in self.model.inputs}
        rows = {item.name: _nested(item, len(item.shape)) for item in self.model.inputs}
        return {
            "Error": _flag_object("error", {"type": "string"}),
            "Metadata": _object(
                {
                    "name": {"const": self.model.name},
                    "versions": {"type": "array", "items": {"type": "string"}},
                    "platform": {"type": "string"},
                    "inputs": {"type": "array", "items": {"type": "object"}},
                    "outputs": {"type": "array", "items": {"type": "object"}},
                    "parameters": {"type": "object"},
                },
                ("name", "versions", "platform", "inputs", "outputs"),
            ),
            "InferenceRequest": _object(
                {
                    "id": {"type": "string"},
                    "inputs": {"type": "array", "minItems": count, "maxItems": count, "items": {"anyOf": tensors}},
                    "outputs": {"type": "array", "items": self.wish()},
                    "parameters": _object({"binary_data_output": {"type": "boolean"}}, ()),
                },
                ("inputs",),
            ),
            "InferenceAnswer": _object(
                {
                    "model_name": {"const": self.model.name},
                    "model_version": {"const": self.model.version},
                    "id": {"type": "string"},
                    "outputs": {"type": "array", "items": {"type": "object"}},
                },
                ("model_name", "model_version", "outputs"),
            ),
            "PredictRequest": {
                "oneOf": [
                    _object({**_SIGNATURE, "instances": self.either(rows, in_list=True)}, ("instances",)),
                    _object({**_SIGNATURE, "inputs": self.either(columns, in_list=False)}, ("inputs",)),
                ]
            },
            "PredictAnswer": {
                "oneOf": [_flag_object("predictions", {"type": "array"}), _flag_object("outputs", {})],
            },
        }

    def tensor(self, item: Tensor) -> dict[str, Any]:
        axes = [{"type": "integer", "minimum": 1, "maximum": self.settings.rows}]
        axes += [{"const": length} for length in item.shape]
        values = {"type": JSON_KINDS[element_type(item)]}
        depth = 1 + len(item.shape)
        lists = [{"type": "array", "items": values}] + ([_nested(item, depth)] if depth > 1 else [])
        return _object(
            {
                "name": {"const": item.name},
                "datatype": {"const": item.datatype},
                "shape": {"type": "array", "prefixItems": axes, "minItems": len(axes), "maxItems": len(axes)},
                "data": lists[0] if len(lists) == 1 else {"anyOf": lists},
            },
            ("name", "datatype", "shape", "data"),
        )

    def wish(self) -> dict[str, Any]:
        flags = _object({"binary_data": {"type": "boolean"}}, ())
        return _object({"name": {"enum": [item.name for item in self.model.outputs]}, "parameters": flags}, ("name",))

    def either(self, columns: dict[str, Any], *, in_list: bool) -> dict[str, Any]:
        """Objects with every input; the values alone too if there is one input."""
        shapes = [_object(columns, tuple(columns))]
        if len(columns) == 1:
            shapes += list(columns.values())
        one = shapes[0] if len(shapes) == 1 else {"anyOf": shapes}
        return {"type": "array", "items": one, "minItems": 1} if in_list else one

    def example(self, schema: str) -> dict[str, Any]:
        arrays = {item.name: self.model.example[item.name] for item in self.model.inputs}
        if schema == "Predict":
            values = {name: array.tolist() for name, array in arrays.items()}
            return {"inputs": next(iter(values.values())) if len(values) == 1 else values}
        inputs = [
            {
                "name": item.name,
                "shape": list(arrays[item.name].shape),
                "datatype": item.datatype,
                "data": arrays[item.name].ravel().tolist(),
            }
            for item in self.model.inputs
        ]
        return {"inputs": inputs}


_BINARY_TOO = {
    "description": "The answer. Binary outputs, if asked for, follow the document, whose length is in the header.",
    "headers": {"Inference-Header-Content-Length": {"schema": {"type": "integer"}}},
}
_SIGNATURE = {"signature_name": {"const": "serving_default"}}


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: dict[str, Any], required: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**found, "required": list(required)} if required else found


def _flag_object(name: str, schema: Any) -> dict[str, Any]:
    return _object({name: schema}, (name,))


def _flag(name: str) -> dict[str, Any]:
    return _flag_object(name, {"const": True})


def _nested(item: Tensor, depth: int) -> dict[str, Any]:
    """Lists in lists of the input's values."""
    schema: dict[str, Any] = {"type": JSON_KINDS[element_type(item)]}
    lengths = [None, *item.shape][-depth:] if depth else []
    for length in reversed(lengths):
        limits = {"minItems": 1} if length is None else {"minItems": length, "maxItems": length}
        schema = {"type": "array", "items": schema, **limits}
    return schema
