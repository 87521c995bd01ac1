"""What a SavedModel's graph may hold: tensorflow's own operations that compute, and none that runs Python, reads or
writes a file, or talks to anybody.

tensorflow says of itself that a model is a program; so a SavedModel is read here, as the message it is, before
tensorflow loads it. Runs in the child process.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

from edgekit.errors import BuildError

#: Operations with state that only a model's own variables, and its flow, need.
_STATEFUL = {
    *("VarHandleOp", "ReadVariableOp", "AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp"),
    *(
        "VarIsInitializedOp",
        "DisableCopyOnRead",
        "ResourceGather",
        "ResourceGatherNd",
        "StatefulPartitionedCall",
        "If",
        "While",
        "Case",
    ),
    *("Assert", "RandomUniform", "RandomUniformInt", "RandomStandardNormal", "TruncatedNormal"),
}
#: What reads a file without tensorflow calling it a state.
_READING = {"ReadFile", "MatchingFiles", "LoadAndRemapMatrix", "ImmutableConst", "DecodeProtoV2", "EncodeProto"}
#: What reaches beyond the graph by what its attributes say: files, the network, tables, other programs' code.
_OUTWARD = re.compile("Debug|PyFunc|Dataset|Reader|File|XlaCustomCall|VocabRemapping|CustomAggregator")
#: How a SavedModel's variables are written and read back: in functions for that, never in an answer.
_CHECKPOINT = {"SaveV2", "RestoreV2", "MergeV2Checkpoints", "ShardedFilename"}


def check(folder: Path) -> None:
    """Raises BuildError naming the operation, or where there is no SavedModel in ``folder``."""
    message, file = saved_model_pb2.SavedModel(), folder / "saved_model.pb"
    try:
        message.ParseFromString(file.read_bytes())
    except Exception as error:  # protobuf's own class is no narrower
        raise BuildError("no SavedModel: its message cannot be read", where=str(file)) from error
    if len(message.meta_graphs) != 1 or not message.meta_graphs[0].HasField("object_graph_def"):
        # tensorflow's older loader runs operations that nothing asks for
        raise _refused("it is written as tensorflow 1 did", f"{len(message.meta_graphs)} graphs", file)
    for graph in message.meta_graphs:
        if any(one.restore_function for node in graph.object_graph_def.nodes for one in node.saveable_objects.values()):
            raise _refused("it brings functions of its own that read its weights", "a restore function", file)
        kept = {one.WhichOneof("kind") for one in graph.object_graph_def.nodes} & {"resource", "asset"}
        if kept:
            raise _refused("it keeps tables or files beside its weights", ", ".join(sorted(kept)), file)
        functions = {one.signature.name: one.node_def for one in graph.graph_def.library.function}
        for node in graph.graph_def.node:
            _hold(node.op, functions, file, _CHECKPOINT)
        for body in functions.values():
            for node in body:
                _hold(node.op, functions, file, _CHECKPOINT)
        answered = list(graph.signature_def.values())
        for op in _reached(graph.graph_def.node, answered, functions):
            _hold(op, functions, file, set())


def _hold(op: str, functions: Iterable[str], file: Path, besides: set[str]) -> None:
    known = op_def_registry.get(op)
    if op in besides or (op in functions and known is None):
        return
    if known is None:
        raise _refused("an operation that tensorflow does not bring", op, file)
    if op in _READING or op in _CHECKPOINT or _OUTWARD.search(op) or (known.is_stateful and op not in _STATEFUL):
        raise _refused("an operation that may do more than compute", op, file)


def _refused(what: str, given: str, file: Path) -> BuildError:
    return BuildError(
        f"this SavedModel is not opened: {what}",
        where=str(file),
        given=given,
        remedy="export the classifier alone, from token ids to logits: model.export('folder')",
    )


def _reached(nodes: Any, signatures: Iterable[Any], functions: dict[str, Any]) -> Iterator[str]:
    """The operations that the signatures' outputs are computed by, functions included."""
    by_name = {one.name: one for one in nodes}
    waiting = [info.name for one in signatures for info in one.outputs.values()]
    seen: set[str] = set()
    called: set[str] = set()
    while waiting:
        name = waiting.pop().lstrip("^").split(":")[0]
        if name in seen or name not in by_name:
            continue
        seen.add(name)
        node = by_name[name]
        yield node.op
        called |= _calls(node)
        waiting += node.input
    pending, done = list(called & set(functions)), set()
    while pending:
        name = pending.pop()
        if name in done:
            continue
        done.add(name)
        for node in functions[name]:
            yield node.op
            pending += _calls(node) & set(functions)


def _calls(node: Any) -> set[str]:
    """The functions that a node may call: those its attributes name, and itself where it is one."""
    found = {node.op}
    for value in node.attr.values():
        found.add(value.func.name)
        found |= {one.name for one in value.list.func}
    return found
