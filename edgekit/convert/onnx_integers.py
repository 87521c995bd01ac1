"""A float .onnx graph with fewer bits: products with weights and look-ups, each in the precision the plan gives it.

Only standard operators are written, in the form that ONNX Runtime turns into integer kernels when it loads the file:

``static``
    ``QuantizeLinear → DequantizeLinear → MatMul ← DequantizeLinear(W)``, the range being the plan's. The runtime makes
    one product of int8 by int8 of it, whose result is float32: the sums are never cut to int8.
``dynamic``
    the same on [-1, 1], with each token divided by its own greatest value before and multiplied by it after: a scale a
    token, as TFLite's kernels have it. ONNX Runtime's own ``DynamicQuantizeMatMul`` has one scale for the whole text
    and needs unsigned activations, whose kernels are the slower ones on ARM.
``weight``, ``half``
    the weights are stored so and turned to float32 when the file is loaded: the runtime folds what only depends on
    constants. Integer schemes have it where a product is made once a text, not once a token: nothing is saved there.

A look-up turns the rows that it picked to float32. A weight that several read, like a tied embedding, is stored once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgekit.convert.quantize import PRECISION, Plan, Precision
from edgekit.errors import MissingExtra

try:
    import numpy as np
    from onnx import NodeProto, TensorProto, helper, numpy_helper
except ImportError as error:
    raise MissingExtra(error.name or "onnx", "onnx") from error

#: The operators that multiply with a weight of a module, or with a stack of them [heads, in, out] (``module.Heads``).
PRODUCTS = ("MatMul", "Gemm")
LEVELS = 255.0
#: What a token's greatest value is raised to: nothing is divided by zero.
LEAST = 1e-9


def quantize(model: Any, plan: Plan) -> Any:
    """The model as ``plan`` has it, in place."""
    return _Writer(model, plan).written()


class _Writer:
    """One graph being rewritten, node by node in its order; what was written before is used again."""

    def __init__(self, model: Any, plan: Plan) -> None:
        self.model, self.graph, self.plan = model, model.graph, plan
        self.constants = {one.name: one for one in model.graph.initializer}
        #: What is turned → the table it is turned from: an output that is the embedding again.
        self.turned = {
            node.output[0]: node.input[0]
            for node in model.graph.node
            if node.op_type == "Transpose" and self._is_weight(node.input[0])
        }
        #: The products that read each weight.
        self.readers: dict[str, list[Any]] = {}
        for node in model.graph.node:
            weight = self._weight(node)
            if weight is not None:
                self.readers.setdefault(weight, []).append(node)
        #: What has a row a token: a dimension of no fixed size.
        self.by_token = {
            one.name
            for one in (*model.graph.value_info, *model.graph.output)
            if any(not size.HasField("dim_value") for size in one.type.tensor_type.shape.dim)
        }
        self.looked_up = {node.input[0] for node in model.graph.node if self._is_look_up(node)}
        self.nodes: list[Any] = []
        self.made: dict[tuple[object, ...], str] = {}
        self.scales: dict[str, np.ndarray] = {}

    def written(self) -> Any:
        products: dict[Precision, Callable[[Any, str], None]] = {
            "static": self._static,
            "dynamic": self._dynamic,
            "weight": self._stored,
            "half": self._stored,
            "float": lambda node, weight: self.nodes.append(node),
        }
        for node in self.graph.node:
            weight = self._weight(node)
            if weight is not None:
                products[self._precision(node)](node, weight)
            elif self._is_look_up(node) and not self._stays_float(node.input[0]):
                self._look_up(node)
            else:
                self.nodes.append(node)
        self._swept()
        return self.model

    def _swept(self) -> None:
        """Put the nodes in place, without what nothing reads any more."""
        read = {name for node in self.nodes for name in node.input}
        kept = [node for node in self.nodes if node.output[0] not in self.turned or node.output[0] in read]
        read = {name for node in kept for name in node.input}
        used = [one for one in self.constants.values() if one.name in read]
        del self.graph.node[:]
        del self.graph.initializer[:]
        self.graph.node.extend(kept)
        self.graph.initializer.extend(used)

    def _is_weight(self, name: str) -> bool:
        found = self.constants.get(name)
        return found is not None and len(found.dims) in (2, 3) and found.data_type == TensorProto.FLOAT

    def _is_look_up(self, node: Any) -> bool:
        return node.op_type == "Gather" and self._is_weight(node.input[0])

    def _weight(self, node: Any) -> str | None:
        """The constant that a product of a module multiplies with, as it is stored; None of any other node."""
        if node.op_type not in PRODUCTS or not node.name:
            return None
        name = self.turned.get(node.input[1], node.input[1])
        return name if self._is_weight(name) else None

    def _precision(self, node: Any) -> Precision:
        stack = node.input[1] in self.constants and len(self.constants[node.input[1]].dims) == 3
        module = _module(node)
        found = self.plan.precision(f"{module}.each.0" if stack else module)
        if found in ("static", "dynamic") and node.output[0] not in self.by_token:
            return "weight"
        # products of no module that was calibrated
        return "dynamic" if found == "static" and module not in self.plan.inputs else found

    def _stays_float(self, table: str) -> bool:
        """Whether a product keeps it in float32: it is not stored a second time for its look-up."""
        return any(self._precision(one) == "float" for one in self.readers.get(table, ()))

    def _static(self, node: Any, weight: str) -> None:
        scale, zero = _grid(*self.plan.inputs[_module(node)], self.plan.quantization.activations == "symmetric")
        given = self._rounded(node.input[0], scale, zero)
        self._add("MatMul", [given, self._integers(node, weight)], node.output[0], node.name)

    def _dynamic(self, node: Any, weight: str) -> None:
        most = self._most(node.input[0])
        divided = self._once("Div", [node.input[0], most], "divided")
        given = self._rounded(divided, np.float32(1.0 / 127.0), np.int8(0))
        product = f"{node.output[0]}.product"
        self._add("MatMul", [given, self._integers(node, weight)], product, node.name)
        self._add("Mul", [product, most], node.output[0])

    def _stored(self, node: Any, weight: str) -> None:
        """Nothing but the weight differs."""
        whole = self._once("Cast", [self._small(weight)], "float", to=TensorProto.FLOAT)
        if weight in self.scales:
            whole = self._once("Mul", [whole, self._constant(f"{weight}.scale", self.scales[weight])], "scaled")
        changed = NodeProto()
        changed.CopyFrom(node)
        changed.input[1] = self._as_read(node, weight, whole)
        self.nodes.append(changed)

    def _look_up(self, node: Any) -> None:
        table, ids = node.input
        rows = self._once("Gather", [self._small(table), ids], "rows")
        if table not in self.scales:
            self._add("Cast", [rows], node.output[0], to=TensorProto.FLOAT)
            return
        scale = self._once("Gather", [self._constant(f"{table}.scale", self.scales[table]), ids], "scale")
        self._add("Mul", [self._once("Cast", [rows], "float", to=TensorProto.FLOAT), scale], node.output[0])

    def _most(self, given: str) -> str:
        """The greatest size in each token, [..., 1]."""
        last = self._constant("last_axis", np.array([-1], np.int64))
        found = self._once("ReduceMax", [self._once("Abs", [given], "sizes"), last], "most", keepdims=1)
        return self._once("Max", [found, self._constant("least", np.float32(LEAST))], "at_least")

    def _rounded(self, given: str, scale: np.float32, zero: np.int8) -> str:
        """``given`` on an int8 grid, as float32 again: that by an operator of its own for each that reads it, or the
        runtime would not see a product of integers in it."""
        grid = [self._constant(f"scale.{scale:.9g}", scale), self._constant(f"zero.{zero}", zero)]
        return self._anew("DequantizeLinear", [self._once("QuantizeLinear", [given, *grid], "int8"), *grid], "rounded")

    def _integers(self, node: Any, weight: str) -> str:
        """The weight [in, out] of a product, int8, as float32 again."""
        stored = self._as_read(node, weight, self._small(weight))
        flat = self.scales[weight].ravel()
        # zero points of its own: where they are not told, or shared, what the runtime does for x86 fails
        grid = [
            self._constant(f"{weight}.scales", flat),
            self._constant(f"{weight}.zeros", np.zeros(len(flat), np.int8)),
        ]
        return self._anew("DequantizeLinear", [stored, *grid], "weight", axis=1)

    def _as_read(self, node: Any, weight: str, stored: str) -> str:
        """Turned, where ``node`` reads the weight so."""
        return stored if node.input[1] == weight else self._once("Transpose", [stored], "turned", perm=[1, 0])

    def _small(self, name: str) -> str:
        """The constant as it is stored in fewer bits; of integers, ``scales`` then has the sizes of their steps."""
        small = f"{name}.small"
        if small in self.constants:
            return small
        whole = numpy_helper.to_array(self.constants[name])
        if PRECISION[self.plan.scheme] == "half":
            return self._constant(small, whole.astype(np.float16))
        scales = self.scales[name] = self._steps(name, np.abs(whole))
        return self._constant(small, np.clip(np.round(whole / scales), -127, 127).astype(np.int8))

    def _steps(self, name: str, sizes: np.ndarray) -> np.ndarray:
        """float32, one an output channel, in a shape that fits the weight's."""
        readers = self.readers.get(name, [])
        rowwise = (
            name in self.looked_up or name in self.turned.values() or any(one.op_type == "Gemm" for one in readers)
        )
        most: np.ndarray = sizes.max(1 if rowwise or sizes.ndim == 3 else 0, keepdims=True)
        found: np.ndarray = most if self.plan.quantization.weights == "channel" else np.full_like(most, most.max())
        found = np.maximum(found, np.float32(LEAST)) / np.float32(127.0)
        for one in readers:
            module = _module(one)
            parts = [module] if sizes.ndim == 2 else [f"{module}.each.{number}" for number in range(len(sizes))]
            if all(part in self.plan.scales for part in parts):
                given = np.stack([np.broadcast_to(self.plan.scales[part], most.size // len(parts)) for part in parts])
                found = given.astype(np.float32).reshape(most.shape)
        return found

    def _constant(self, name: str, values: Any) -> str:
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.asarray(values), name)
        return name

    def _once(self, kind: str, inputs: list[str], what: str, **attributes: Any) -> str:
        """The output of an operator, written where it was not before: what several products read is rounded once."""
        key = (kind, *inputs)
        if key not in self.made:
            self.made[key] = self._anew(kind, inputs, what, **attributes)
        return self.made[key]

    def _anew(self, kind: str, inputs: list[str], what: str, **attributes: Any) -> str:
        output = f"{inputs[0]}.{what}.{len(self.nodes)}"
        self._add(kind, inputs, output, **attributes)
        return output

    def _add(self, kind: str, inputs: list[str], output: str, name: str = "", **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], name or None, **attributes))


def _module(node: Any) -> str:
    """Whose product it is; a shared module's later calls are numbered."""
    name: str = node.name.partition("#")[0]
    return name


def _grid(low: float, high: float, symmetric: bool) -> tuple[np.float32, np.int8]:
    """Scale and zero point of the int8 grid from ``low`` to ``high``, zero between them."""
    if symmetric:
        return np.float32(max(-low, high, LEAST) / 127.0), np.int8(0)
    scale = max(high - low, LEAST) / LEVELS
    return np.float32(scale), np.int8(np.clip(np.round(-128.0 - low / scale), -128, 127))
