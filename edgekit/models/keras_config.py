"""What a Keras file's own description of its layers may hold: Keras's own classes, and nothing that carries code.

Keras has ``safe_mode`` for this, which older ``.h5`` files were not held to (CVE-2025-9905) and configurations have
got around (CVE-2025-1550, CVE-2025-8747, CVE-2025-9906). So a configuration is read here, as the JSON it is, before
Keras sees it.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgekit.errors import BuildError

#: What a layer is made of, by the module that Keras writes down (its inner name ``keras.src.…`` means the same).
_ROOMS = (
    "keras.activations",
    "keras.constraints",
    "keras.dtype_policies",
    "keras.initializers",
    "keras.layers",
    "keras.losses",
    "keras.metrics",
    "keras.models",
    "keras.ops",
    "keras.optimizers",
    "keras.regularizers",
)
#: Keras's own, but they run what the file says: Python code, or another model that nobody has looked into.
_RUNNING = {"Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
#: What stands in ``keras`` itself.
_PLAIN = {"DTypePolicy", "Functional", "InputSpec", "Layer", "Model", "Operation", "Sequential", "Variable"}
#: Values, not classes.
_VALUES = {"__keras_tensor__", "__tensor__", "__numpy__", "__tuple__", "__bytes__", "__ellipsis__", "slice"}
_EXPORT = "export it from the program that knows the class, as a SavedModel: model.export('folder')"


def check_file(file: Path) -> None:
    """Look into a ``.keras`` file. Raises BuildError where it is none, or could run code."""
    try:
        with zipfile.ZipFile(file) as archive, archive.open("config.json") as stream:
            config = json.load(stream)
    except (OSError, KeyError, ValueError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
        raise BuildError(
            f"no Keras file: {error}", where=str(file), allowed="what model.save('….keras') writes"
        ) from error
    check(config, str(file))


def check(config: Any, where: str) -> None:
    """Raises BuildError naming the class, where a model's configuration holds one that Keras did not bring."""
    try:
        # what the whole was compiled with is not opened, what an inner model was compiled with is
        found = list(_classes({key: one for key, one in dict(config).items() if key != "compile_config"}))
    except (RecursionError, TypeError, ValueError) as error:
        raise BuildError(f"no Keras model: {error}", where=where) from error
    for one in found:
        name, module = str(one["class_name"]), one.get("module")
        if name in _VALUES:
            continue
        if name in _RUNNING:
            raise BuildError(
                f"this Keras model runs code of its own, in a {name}: it is not opened",
                where=where,
                given=str((one.get("config") or {}).get("name", name) if isinstance(one.get("config"), dict) else name),
                remedy="write the layer with Keras's own operations (keras.ops), or " + _EXPORT,
            )
        if not _known(name, module, one.get("registered_name")):
            raise BuildError(
                "this Keras model needs a class that Keras does not bring: its code is not run",
                where=where,
                given=f"{module}.{name}" if module else name,
                remedy=_EXPORT,
            )


def _known(name: str, module: Any, registered: Any) -> bool:
    if ">" in str(registered or "") or not name.isidentifier():
        return False
    if module is None:
        # as older files have it: Keras looks such a name up among its own layers
        return True
    room = str(module).replace("keras.src.", "keras.", 1)
    if name == "function":
        return room == "builtins" or room.startswith("keras.activations")
    if room == "keras":
        return name in _PLAIN
    return name[0].isupper() and any(room == one or room.startswith(one + ".") for one in _ROOMS)


def _classes(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping that names a class, however deep."""
    if isinstance(value, dict):
        if "class_name" in value:
            yield value
        for one in value.values():
            yield from _classes(one)
    elif isinstance(value, list):
        for one in value:
            yield from _classes(one)
