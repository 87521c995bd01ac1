"""Pricing: exact where it was measured, between near figures where it was not, asking for no more than it needs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.errors import SpecError
from edgekit.exploration import table as tables
from edgekit.exploration.table import Entry, Need, Settings, Shape, Table
from edgekit.models.structure import Factor, Layer, Structure

HOW = Settings("tflite", "w8_a32_dynamic")
HEADS = st.integers(1, 32)
WIDTHS = st.integers(1, 512).map(lambda one: 8 * one)


def shape(heads: int, ffn: int) -> Shape:
    return Shape("bert", 384, 32, heads, ffn, "gelu")


def true_cost(one: Shape, length: int) -> float:
    """A machine on which heads and neurons cost what they cost, each on its own."""
    return 0.3 + length * (0.02 * one.heads + 0.001 * one.ffn)


def measured(table: Table, missing: tuple[Need, ...]) -> Table:
    entries = [
        Entry(one.kind, one.shape, one.settings, one.length, true_cost(one.shape, one.length)) for one in missing
    ]
    return table.with_entries(entries)


def completed(table: Table, needed: tuple[Need, ...]) -> tuple[Table, int]:
    rounds = 0
    while missing := table.missing(needed):
        table, rounds = measured(table, missing), rounds + 1
        assert rounds < 10, "measuring what is missing must come to an end"
    return table, rounds


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(HEADS, WIDTHS), min_size=1, max_size=8), st.sampled_from([8, 64]))
def test_a_model_costs_the_sum_of_its_layers_whatever_was_measured_before(
    layers: list[tuple[int, int]], length: int
) -> None:
    table = Table({})
    for number in range(len(layers)):
        model = [shape(heads, ffn) for heads, ffn in layers[: number + 1]]
        table, _ = completed(table, tables.needs(model, HOW, [length]))
        price = table.price(model, HOW, length)
        assert price == pytest.approx(sum(true_cost(one, length) for one in model))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(HEADS, WIDTHS), min_size=2, max_size=30))
def test_few_shapes_are_measured_however_many_are_asked_for(layers: list[tuple[int, int]]) -> None:
    table, _ = completed(Table({}), tuple(Need("inner", shape(heads, ffn), HOW, 8) for heads, ffn in layers))
    asked = {heads for heads, _ in layers}, {ffn for _, ffn in layers}
    assert len(table.entries) <= 1 + len(asked[0]) + len(asked[1]) + len(layers)
    assert not table.missing(tuple(Need("inner", shape(heads, ffn), HOW, 8) for heads, ffn in layers))


def test_between_near_widths_it_is_linear_and_between_far_ones_it_asks() -> None:
    near = measured(Table({}), (Need("last", shape(12, 384), HOW, 8), Need("last", shape(12, 768), HOW, 8)))
    assert near.layer(Need("last", shape(12, 576), HOW, 8)) == pytest.approx(true_cost(shape(12, 576), 8))
    far = measured(Table({}), (Need("last", shape(12, 384), HOW, 8), Need("last", shape(12, 1536), HOW, 8)))
    assert far.layer(Need("last", shape(12, 576), HOW, 8)) is None
    assert far.missing((Need("last", shape(12, 576), HOW, 8),)) == (Need("last", shape(12, 576), HOW, 8),)


def test_outside_what_was_measured_nothing_is_guessed() -> None:
    table = measured(Table({}), (Need("last", shape(12, 384), HOW, 8),))
    assert table.layer(Need("last", shape(12, 392), HOW, 8)) is None
    assert table.layer(Need("inner", shape(12, 384), HOW, 8)) is None, "an inner layer is another kind"
    assert table.layer(Need("last", shape(12, 384), HOW, 16)) is None, "another length is another figure"
    assert table.layer(Need("last", shape(12, 384), Settings("tflite", "w8_a32_dynamic", 2), 8)) is None
    assert table.price([shape(12, 392)], HOW, 8) is None


def test_the_last_layer_is_priced_as_one_and_the_others_as_inner() -> None:
    model = [shape(12, 384), shape(12, 384), shape(6, 192)]
    kinds = [(one.kind, one.shape.heads) for one in tables.needs(model, HOW, [8])]
    assert kinds == [("inner", 12), ("inner", 12), ("last", 6)]


def test_a_layer_of_factored_projections_is_measured_as_it_is() -> None:
    table = measured(Table({}), (Need("inner", shape(12, 1536), HOW, 8),))
    factored = Shape("bert", 384, 32, 12, 384, "gelu, up rank 64")
    assert table.missing((Need("inner", factored, HOW, 8),)) == (Need("inner", factored, HOW, 8),)


def test_layers_are_told_apart_by_their_factors_and_the_last_one_has_the_embeddings() -> None:
    structure = Structure(
        family="bert",
        labels=("a", "b"),
        layers=(Layer(12, 384), Layer(6, 192)),
        head_size=32,
        hidden=384,
        vocabulary=100,
        teacher_layers=(0, 5),
        factors=(Factor("bert.encoder.layer.0.output.dense", 32), Factor("bert.embeddings.word_embeddings", 64)),
    )
    first, last = tables.shapes(structure, "gelu")
    assert (first.heads, first.ffn, last.heads, last.ffn) == (12, 384, 6, 192)
    assert "output.dense rank 32" in first.variant
    assert "word_embeddings rank 64" in last.variant
    assert "rank 32" not in last.variant


def test_a_kept_table_comes_back_and_one_of_another_board_does_not(tmp_path: Path) -> None:
    file = tmp_path / "table.json"
    table = measured(Table({"target": "a"}), (Need("last", shape(12, 384), HOW, 8),))
    tables.save(table, file)
    assert tables.load(file, {"target": "a"}) == table
    assert tables.load(file, {"target": "b"}) == Table({"target": "b"})
    file.write_text(file.read_text().replace('"schema":1', '"schema":9'))
    with pytest.raises(SpecError, match="schema"):
        tables.load(file, {"target": "a"})


@pytest.mark.parametrize(("scheme", "bits"), [("w32_a32_float", 32), ("w8_a8_static", 8), ("w4_a32_dynamic", 4)])
def test_a_schemes_name_tells_the_bits_of_a_weight(scheme: str, bits: int) -> None:
    assert tables.weight_bits(scheme) == bits
