"""Files that attack whoever opens them: each function writes one into a folder and returns what to open.

What opening one of them with the usual readers did is said with each; dualml refuses all of them unread.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

ATTACKS: dict[str, tuple[Callable[[Path], Path], str]] = {}
"""By name: what writes the file, and a part of the message it must get."""


def attack(message: str) -> Callable[[Callable[[Path], Path]], Callable[[Path], Path]]:
    def register(function: Callable[[Path], Path]) -> Callable[[Path], Path]:
        ATTACKS[function.__name__] = function, message
        return function

    return register


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.mark = str(folder / "EXECUTED")

    def __reduce__(self):
        return open, (self.mark, "w")


def _write(path: Path, data: bytes | str) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def _zip(path: Path, members: dict[str, bytes], packed: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", packed) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


# Pickles: PyTorch executed the .pt with weights_only=False and the .pt2 always.


@attack("hold a pickle")
def pickle_in_pt(folder):
    return _zip(folder / "a.pt", {"archive/data.pkl": pickle.dumps(Payload(folder))})


@attack("hold a pickle")
def bare_pickle(folder):
    return _write(folder / "a.pkl", pickle.dumps(Payload(folder)))


@attack("is a pickle, whatever its name says")
def pickle_called_safetensors(folder):
    return _write(folder / "a.safetensors", pickle.dumps(Payload(folder)))


@attack("is a pickle, whatever its name says")
def pickle_called_onnx(folder):
    return _write(folder / "a.onnx", pickle.dumps(Payload(folder)))


@attack("hold pickles")
def pickle_in_pt2(folder):
    return _zip(folder / "a.pt2", {"archive/data/sample_inputs/model.pt": pickle.dumps(Payload(folder))})


@attack("holds Python objects, which are never unpickled")
def objects_in_npy(folder):
    path = folder / "a.npy"
    np.save(path, np.array([Payload(folder)], dtype=object), allow_pickle=True)
    return path


@attack("holds Python objects, which are never unpickled")
def objects_in_npz(folder):
    path = folder / "a.npz"
    np.savez(path, x=np.array([Payload(folder)], dtype=object), allow_pickle=True)
    return path


@attack("the header declares shape")
def npy_that_declares_too_much(folder):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40,)})
    return _write(folder / "a.npy", stream.getvalue() + bytes(64))


# Keras archives: Lambda is executed with safe_mode=False; the bomb took 18.7 s and 4.1 GiB.


def _keras(path: Path, layer: dict, **members: bytes) -> Path:
    config = {"module": "keras", "class_name": "Sequential", "registered_name": None, "config": {"layers": [layer]}}
    return _zip(path, {"config.json": json.dumps(config).encode(), "metadata.json": b"{}", **members})


@attack("Lambda runs or reads what the file names")
def keras_lambda(folder):
    code = {"class_name": "__lambda__", "config": {"code": "4wEAAAAAAAAA", "defaults": None, "closure": None}}
    layer = {"module": "keras.layers", "class_name": "Lambda", "registered_name": None, "config": {"function": code}}
    return _keras(folder / "a.keras", layer)


@attack("it names builtins.function")
def keras_builtins_open(folder):
    function = {"module": "builtins", "class_name": "function", "config": "open", "registered_name": "function"}
    layer = {"module": "keras.layers", "class_name": "Activation", "config": {"activation": function}}
    return _keras(folder / "a.keras", layer)


@attack("it names keras.utils.get_file")
def keras_get_file(folder):
    layer = {"module": "keras.utils", "class_name": "get_file", "config": {"origin": "file:///etc/passwd"}}
    return _keras(folder / "a.keras", layer)


@attack("it names os.system")
def keras_os_system(folder):
    return _keras(folder / "a.keras", {"module": "os", "class_name": "system", "config": {"command": "true"}})


@attack("TFSMLayer runs or reads what the file names")
def keras_saved_model_layer(folder):
    layer = {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "../model"}}
    return _keras(folder / "a.keras", layer)


@attack("is a class of the user's, whose code it needs")
def keras_custom_class(folder):
    layer = {"module": "keras.layers", "class_name": "Mine", "config": {}, "registered_name": "mine>Mine"}
    return _keras(folder / "a.keras", layer)


@attack("the key 'module' stands twice")
def keras_config_with_two_meanings(folder):
    config = b'{"module": "keras", "module": "os", "class_name": "Sequential", "config": {}}'
    return _zip(folder / "a.keras", {"config.json": config})


@attack("bytes unpacked from")
def keras_bomb(folder, unpacked=64 << 20):
    path = folder / "a.keras"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("model.weights.h5", "w", force_zip64=True) as member,
    ):
        for _ in range(unpacked >> 20):
            member.write(bytes(1 << 20))
    return path


@attack("must be a relative path inside the archive")
def keras_outside_its_folder(folder):
    return _zip(folder / "a.keras", {"../../outside": b"x", "config.json": b"{}"})


@attack("must be a relative path inside the archive")
def npz_absolute_member(folder):
    return _zip(folder / "a.npz", {"/tmp/outside.npy": b"x"})


@attack("stands there twice")
def zip_with_two_meanings(folder):
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        for name, data in (("x", "one"), ("y", "two")):
            archive.writestr(name, data)
    return _write(folder / "a.zip", (folder / "a.zip").read_bytes().replace(b"y", b"x"))


@attack("is a link or device")
def zip_with_a_link(folder):
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    return folder / "a.zip"


@attack("shares bytes with the one before it")
def zip_with_shared_bytes(folder):
    """Every member of the directory is the same bytes of the file."""
    path = _zip(folder / "a.zip", {"a": bytes(1000), "b": bytes(1000)})
    data = bytearray(path.read_bytes())
    second = data.rindex(b"PK\x01\x02")
    data[second + 42 : second + 46] = struct.pack("<I", 0)
    return _write(path, bytes(data))


# HDF5 and SavedModel: programs and files of others.


@attack("can name other files")
def h5_weights(folder):
    return _write(folder / "a.h5", b"\x89HDF\r\n\x1a\n" + bytes(100))


@attack("is an HDF5 file, whatever its name says")
def h5_called_safetensors(folder):
    return _write(folder / "a.safetensors", b"\x89HDF\r\n\x1a\n" + bytes(100))


@attack("SavedModels are programs")
def saved_model(folder):
    (folder / "saved").mkdir()
    _write(folder / "saved" / "saved_model.pb", b"\x08\x01")
    return folder / "saved"


# ONNX: ONNX Runtime read a secret through a hard link, and ran the loop.


def onnx_bytes(*nodes, initializers=(), inputs=(), opset=18, **settings) -> bytes:
    from onnx import TensorProto, helper

    given = inputs or [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])]
    output = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(list(nodes), "g", given, output, list(initializers))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9, **settings)
    return model.SerializeToString()


def _external(place: str) -> bytes:
    from onnx import TensorProto, helper

    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    entry = weight.external_data.add()
    entry.key, entry.value = "location", place
    return onnx_bytes(helper.make_node("Add", ["x", "w"], ["y"]), initializers=[weight])


@attack("external data")
def onnx_data_above(folder):
    return _write(folder / "a.onnx", _external("../secret"))


@attack("external data")
def onnx_data_absolute(folder):
    return _write(folder / "a.onnx", _external("/etc/passwd"))


@attack("external data")
def onnx_data_through_a_hard_link(folder):
    secret = _write(folder / "secret", bytes(16))
    os.link(secret, folder / "weights.bin")
    return _write(folder / "a.onnx", _external("weights.bin"))


@attack("is a symbolic link")
def onnx_that_is_a_link(folder):
    (folder / "a.onnx").symlink_to("/etc/passwd")
    return folder / "a.onnx"


@attack("has 2 names")
def onnx_that_is_a_hard_link(folder):
    _write(folder / "other", onnx_bytes())
    os.link(folder / "other", folder / "a.onnx")
    return folder / "a.onnx"


@attack("'Loop'")
def onnx_loop_without_a_body(folder):
    from onnx import helper

    return _write(folder / "a.onnx", onnx_bytes(helper.make_node("Loop", ["x"], ["y"])))


@attack("a subgraph")
def onnx_loop(folder):
    from onnx import TensorProto, helper

    bool_info = [helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("go", "on")]
    count = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    step = helper.make_node("Identity", ["go"], ["on"])
    body = helper.make_graph([step], "body", [count, bool_info[0]], [bool_info[1]])
    trips = helper.make_tensor("trips", TensorProto.INT64, [], [3_000_000])
    loop = helper.make_node("Loop", ["trips", ""], ["y"], body=body)
    return _write(folder / "a.onnx", onnx_bytes(loop, initializers=[trips]))


@attack("must be numbers of at most")
def onnx_constant_of_any_size(folder):
    from onnx import TensorProto, helper

    size = helper.make_tensor("size", TensorProto.INT64, [1], [16 << 30])
    return _write(
        folder / "a.onnx", onnx_bytes(helper.make_node("ConstantOfShape", ["size"], ["y"]), initializers=[size])
    )


@attack("must be at most 67,108,864, but is more")
def onnx_constant_of_many_sizes(folder):
    from onnx import TensorProto, helper

    size = helper.make_tensor("size", TensorProto.INT64, [3], [1 << 20, 1 << 20, 4])
    return _write(folder / "a.onnx", onnx_bytes(helper.make_node("Expand", ["x", "size"], ["y"]), initializers=[size]))


@attack("must come from constants and lengths of arrays, but comes from an input")
def onnx_size_from_an_input(folder):
    from onnx import helper

    return _write(folder / "a.onnx", onnx_bytes(helper.make_node("ConstantOfShape", ["x"], ["y"])))


@attack("comes from the operator Mul")
def onnx_computed_size(folder):
    from onnx import TensorProto, helper

    size = helper.make_tensor("size", TensorProto.INT64, [1], [1 << 20])
    nodes = [helper.make_node("Mul", ["size", "size"], ["s"]), helper.make_node("ConstantOfShape", ["s"], ["y"])]
    return _write(folder / "a.onnx", onnx_bytes(*nodes, initializers=[size]))


@attack("functions of its own")
def onnx_function(folder):
    from onnx import helper

    opsets = [helper.make_opsetid("", 18)]
    body = [helper.make_node("Identity", ["a"], ["b"])]
    function = helper.make_function("", "Relu", ["a"], ["b"], body, opsets)
    return _write(folder / "a.onnx", onnx_bytes(helper.make_node("Relu", ["x"], ["y"]), functions=[function]))


@attack("only ONNX's own are allowed")
def onnx_operator_of_others(folder):
    from onnx import helper

    return _write(folder / "a.onnx", onnx_bytes(helper.make_node("Evil", ["x"], ["y"], domain="com.evil")))


@attack("needs 4294967296 bytes, but has 4")
def onnx_tensor_that_declares_too_much(folder):
    from onnx import TensorProto, helper

    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1 << 30], raw_data=bytes(4))
    return _write(folder / "a.onnx", onnx_bytes(helper.make_node("Add", ["x", "w"], ["y"]), initializers=[weight]))


@attack("holds its graph twice")
def onnx_with_two_graphs(folder):
    """One reader takes the last graph, another merges the two."""
    from onnx import ModelProto, helper

    first, second = (onnx_bytes(helper.make_node("Relu", [name], ["y"])) for name in ("x", "z"))
    graph = ModelProto.FromString(second).graph
    return _write(folder / "a.onnx", first + ModelProto(graph=graph).SerializeToString())


# safetensors: the library refused all of them but the key that stands twice.


def safetensors_bytes(header: dict | bytes | str, data: bytes = bytes(16), length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else (header if isinstance(header, str) else json.dumps(header)).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def _entry(shape=(4,), offsets=(0, 16), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


SAFETENSORS = {
    "truncated": (safetensors_bytes({"a": _entry()}, bytes(8)), "declares 16 bytes of tensors, but 8 follow"),
    "trailing": (safetensors_bytes({"a": _entry()}, bytes(20)), "declares 16 bytes of tensors, but 20 follow"),
    "header_of_2_to_60": (safetensors_bytes({"a": _entry()}, length=1 << 60), "its header declares"),
    "overflow": (safetensors_bytes({"a": _entry(shape=(1 << 62, 4))}), "needs 73786976294838206464 bytes, but has 16"),
    "negative": (safetensors_bytes({"a": _entry(shape=(-4,))}), "whole numbers from 0 on"),
    "overlap": (safetensors_bytes({"a": _entry(), "b": _entry((2,), (8, 16))}), "overlaps the one before"),
    "hole": (safetensors_bytes({"a": _entry((2,), (8, 16))}), "leaves bytes unused before it"),
    "bad_dtype": (safetensors_bytes({"a": _entry(dtype="OBJECT")}), "has the dtype 'OBJECT'"),
    "empty": (b"", "has only 0 bytes"),
    "not_json": (safetensors_bytes("{not json"), "must be JSON with one meaning"),
    "float_shape": (safetensors_bytes({"a": _entry(shape=(4.0,))}), "whole numbers from 0 on"),
    "fields_too_many": (safetensors_bytes({"a": _entry() | {"code": 1}}), "exactly dtype, shape and data_offsets"),
    "key_twice": (
        safetensors_bytes(f'{{"a": {json.dumps(_entry())}, "a": {json.dumps(_entry())}}}'),
        "the key 'a' stands twice",
    ),
}
for _name, (_data, _message) in SAFETENSORS.items():
    ATTACKS[f"safetensors_{_name}"] = (
        lambda folder, _data=_data: _write(folder / "a.safetensors", _data),
        _message,
    )


# JSON and YAML.

TEXTS = {
    "json_key_twice": ("a.json", '{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' stands twice"),
    "json_nan": ("a.json", '{"a": NaN}', "NaN is no JSON number"),
    "json_infinite": ("a.json", '{"a": 1e999}', "beyond float64"),
    "json_deep": ("a.json", "[" * 5000 + "]" * 5000, "of at most 100 levels"),
    "json_deep_behind_quotes": ("a.json", '{"\\"": ' + "[" * 5000 + "]" * 5000 + "}", "of at most 100 levels"),
    "json_long_number": ("a.json", "[" + "9" * 4000 + "]", "has 4000 digits"),
    "json_half_a_pair": ("a.json", '{"a": "\\ud800"}', "half a surrogate pair"),
    "json_latin": ("a.json", b'{"a": "\xe9"}', "in UTF-8, but byte 7 is not"),
    "json_trailing": ("a.json", "{} {}", "Extra data"),
    "yaml_tag": ("a.yaml", "a: !!python/object/apply:os.system ['true']", "tag"),
    "yaml_key_twice": ("a.yaml", "seed: 1\nseed: 2\n", "stands here twice"),
    "yaml_deep": ("a.yaml", "[" * 5000 + "]" * 5000, "more than 100 levels"),
    "yaml_itself": ("a.yaml", "a: &a [1, *a]", "so it has no end"),
    "yaml_bomb": (
        "a.yaml",
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{n}: &{n} [{','.join([f'*{p}'] * 9)}]\n" for p, n in zip("abcdefgh", "bcdefghi", strict=True)),
        "more than 200000 values once its aliases are expanded",
    ),
    "csv_with_zero_bytes": ("a.csv", b"1,2\0,3\n", "holds zero bytes"),
    "unknown_ending": ("a.model", "x", "its ending must be one of"),
}
for _name, (_file, _text, _message) in TEXTS.items():
    ATTACKS[_name] = (lambda folder, _file=_file, _text=_text: _write(folder / _file, _text), _message)


@attack("is a device, pipe or socket")
def a_pipe(folder):
    os.mkfifo(folder / "a.onnx")
    return folder / "a.onnx"
