"""Load anybody's Keras classifier of digits, without running code that its file contains."""

import json
import re
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from daemon.errors import ModelError
from daemon.invocation import command
from daemon.reading import model
from daemon.reading.glyph import GLYPH
from daemon.records import DIGITS
from daemon.training.frameworks import import_keras

INPUT_SHAPES = (
    (GLYPH, GLYPH, 1),
    (GLYPH, GLYPH),
    (GLYPH * GLYPH,),
    (1, GLYPH, GLYPH),
    (1, GLYPH * GLYPH),
    (GLYPH * GLYPH, 1),
)
"""The shapes of an input that has the pixels of a glyph row by row."""

CLASSES = DIGITS, DIGITS + 1  # with or without a last class for what is not a digit

# Members of a .keras file.
_CONFIG, _WEIGHTS, _METADATA = "config.json", "model.weights.h5", "metadata.json"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_SAVE = 'load it with the Keras that made it and save it with model.save("my.keras")'
# Modules of Keras whose objects only compute. All other objects are refused before Keras sees
# them, because its own checks were circumvented several times (CVE-2025-1550, CVE-2025-8747).
_MODULES = (
    "keras",
    "keras.layers",
    "keras.models",
    "keras.initializers",
    "keras.regularizers",
    "keras.constraints",
    "keras.dtype_policies",
    "keras.activations",
    "keras.src.models.functional",
    "keras.src.models.sequential",
)
_OPERATIONS = "keras.src.ops."
_LAMBDAS = frozenset({"Lambda", "__lambda__"})
# Layers that run other programs' code, or read files that the configuration names.
_FOREIGN = frozenset(
    {
        *("TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"),
        *("StringLookup", "IntegerLookup", "TextVectorization"),
    }
)
_RECURRENT = frozenset({"LSTM", "GRU", "SimpleRNN", "RNN"})
_VALUES = frozenset({"__keras_tensor__", "__tensor__", "__numpy__", "__ellipsis__", "__slice__"})
_UNKNOWN = re.compile(r"ould not locate (?:class|function) '([^']+)'")
_FUNCTION = "function"  # one of Keras's, found by its name; Keras refuses others


def load_classifier(path: Path) -> Any:
    """Load a Keras classifier that takes a glyph and has 10 or 11 outputs.

    Raises:
        ModelError: it is not one, or its file contains code.
        MissingPackageError: Keras is not installed.
    """
    members, config = check(path)
    keras = import_keras()
    with tempfile.TemporaryDirectory() as folder:
        # What was checked is loaded, and nothing else of the file.
        checked = Path(folder) / "checked.keras"
        with zipfile.ZipFile(checked, "w") as archive:
            for name in (_WEIGHTS, _METADATA):
                archive.writestr(name, members[name])
            archive.writestr(_CONFIG, json.dumps(config))
        try:
            network = keras.saving.load_model(checked, compile=False, safe_mode=True)
        # Keras passes on what its JSON and HDF5 readers and its layers raise.
        except Exception as error:
            if unknown := _UNKNOWN.search(str(error)):
                raise _custom(path, unknown[1]) from error
            why = describe_briefly(error)
            raise ModelError(f"{path}: Keras cannot load it: {why}: save it again") from error
    _check_shapes(path, network)
    _check_runs(path, network)
    if not all(np.isfinite(each).all() for each in network.get_weights()):
        raise ModelError(
            f"{path}: has weights that are not finite numbers: train it again, with a smaller "
            "learning rate"
        )
    return network


def check(path: Path) -> tuple[dict[str, bytes], Any]:
    """Check a Keras file without Keras; return its members, and its configuration to load.

    Raises:
        ModelError: it is no such file, or contains code.
    """
    members = _read_members(path)
    config = _parse_config(path, members[_CONFIG])
    _check_layers(path, config)
    return members, config


def _read_members(path: Path) -> dict[str, bytes]:
    """Return the members of a .keras file.

    Raises:
        ModelError: it is no such file, or one of digitd's.
    """
    if path.is_dir():
        kind = "a SavedModel folder" if (path / "saved_model.pb").exists() else "a folder"
        raise ModelError(f"{path}: is {kind}, not a .keras file: {_SAVE}")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}: name a .keras file") from error
    if data.startswith(_HDF5):
        raise ModelError(f"{path}: is in the old HDF5 format (.h5), not a .keras file: {_SAVE}")
    try:
        members = model.unzip(data)
    except model.BROKEN_ZIP as error:
        raise ModelError(
            f"{path}: is not a .keras file, or is truncated ({error}): save it again"
        ) from error
    if model.SETTINGS_MEMBER in members:
        raise ModelError(
            f"{path}: is one of digitd's own models, which needs no adoption: name the file with "
            f"`model:` in the config, or promote one of those of {command('model list')}"
        )
    missing = {_CONFIG, _WEIGHTS, _METADATA}.difference(members)
    if missing:
        raise ModelError(f"{path}: is not a .keras file, it has no {min(missing)} inside: {_SAVE}")
    return members


def _parse_config(path: Path, data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: its {_CONFIG} is broken ({error}): save it again") from error


def _check_layers(path: Path, config: Any) -> None:
    """Check that a configuration only has Keras's own layers, and none that contains code.

    Optimizers and losses are removed from it, as they may be anybody's, loops are unrolled, and a
    fixed batch size is made free.
    """
    for each in _find_objects(config):
        _free_batch_size(each)
        name, module = str(each["class_name"]), str(each.get("module"))
        if name in _LAMBDAS:
            inner = each.get("config")
            called = f" {inner['name']!r}" if isinstance(inner, dict) and "name" in inner else ""
            raise ModelError(
                f"{path}: has a Lambda layer{called}, and digitd never runs code from a model "
                "file: replace it with Keras's own layers, such as Rescaling or Reshape"
            )
        if name in _RECURRENT and isinstance(each.get("config"), dict):
            # TensorFlow's converter crashes on loops when it compiles them with 8 bits.
            each["config"]["unroll"] = True
        if name in _VALUES or (name == _FUNCTION and module == "builtins"):
            continue
        registered = str(each.get("registered_name") or "")
        is_keras = module in _MODULES or module.startswith(_OPERATIONS)
        if not is_keras or ">" in registered or name in _FOREIGN:
            raise _custom(path, name)


def _free_batch_size(described: dict[str, Any]) -> None:
    """Let an object take any number of images.

    Keras saves the batch size of the training with a network that has no Input, as most tutorials'.
    """
    for name, key in (
        ("config", "batch_shape"),
        ("config", "build_input_shape"),
        ("build_config", "input_shape"),
    ):
        part = described.get(name)
        shape = part.get(key) if isinstance(part, dict) else None
        if isinstance(shape, list) and len(shape) > 1 and isinstance(shape[0], int):
            shape[0] = None


def _custom(path: Path, name: str) -> ModelError:
    return ModelError(
        f"{path}: uses {name}, a custom object, and digitd never runs code from a model file: "
        "build the model from Keras's own layers"
    )


def _find_objects(node: Any) -> Iterator[dict[str, Any]]:
    """Yield what describes an object in a configuration, at any depth; remove how it learns."""
    pending = [node]
    while pending:
        each = pending.pop()
        if isinstance(each, list):
            pending.extend(each)
        elif isinstance(each, dict):
            each.pop("compile_config", None)
            if "class_name" in each:
                yield each
            pending.extend(each.values())


def _check_shapes(path: Path, network: Any) -> None:
    """Check that a network maps a glyph to 10 or 11 classes."""
    try:
        inputs, outputs = list(network.inputs), list(network.outputs)
    except (AttributeError, ValueError, TypeError):
        inputs = outputs = []
    if not inputs or not outputs:
        raise ModelError(
            f"{path}: was never built, so it has no shapes and no weights: train it, then save it"
        )
    if len(inputs) > 1 or len(outputs) > 1:
        raise ModelError(
            f"{path}: has {len(inputs)} inputs and {len(outputs)} outputs: digitd needs a model "
            "with one of each"
        )
    takes, gives = tuple(inputs[0].shape), tuple(outputs[0].shape)
    if match_input(takes) is None or len(gives) != 2 or gives[1] not in CLASSES:
        raise ModelError(
            f"{path}: maps {_describe(takes)} to {_describe(gives)}: digitd needs a classifier of "
            f"{GLYPH}x{GLYPH} pixels (or {GLYPH * GLYPH}) to 10 digits, or to 11 classes with "
            '"not a digit" as the last'
        )


def _check_runs(path: Path, network: Any) -> None:
    """Check that a network computes something, for any number of images."""
    try:
        inputs = network.inputs[0]
        shape = match_input(tuple(inputs.shape))
        network(np.zeros((2, *(shape or ())), np.float32), training=False)
    # Layers raise what they like.
    except Exception as error:
        raise ModelError(
            f"{path}: cannot read two images at once ({describe_briefly(error)}): build it for any "
            "number of images"
        ) from error


def describe_briefly(error: Exception) -> str:
    """Return the beginning of what Keras or TensorFlow says of an error, which may be pages."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def match_input(shape: tuple[int | None, ...]) -> tuple[int, ...] | None:
    """Return the shape of a glyph that an input takes, without the batch; ``None`` if none."""
    for each in INPUT_SHAPES:
        if len(each) == len(shape) - 1 and all(
            wanted in {None, side} for side, wanted in zip(each, shape[1:], strict=True)
        ):
            return each
    return None


def _describe(shape: tuple[int | None, ...]) -> str:
    return "x".join("?" if side is None else str(side) for side in shape[1:]) or "one number"
