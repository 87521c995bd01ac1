"""What cannot run where is told before anything is trained, and the page says what the targets say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgekit import load
from edgekit.deliver import compatibility, preflight
from edgekit.errors import SpecError
from edgekit.home import Home
from edgekit.report import compatibility as pages
from edgekit.spec.recipe import Recipe
from edgekit.spec.scheme import FORMAT_SCHEMES
from edgekit.spec.target import Target

RPI4, ARMV7 = load.target("rpi4"), load.target("generic-armv7")


def recipe(*settings: str) -> Recipe:
    return load.recipe(load.recipe_file("minilm-int8-demo"), settings)


def with_runtime(target: Target, name: str, **changed: object) -> Target:
    support = replace(target.runtimes[name], source="measured", **changed)  # type: ignore[arg-type]
    return replace(target, runtimes={**target.runtimes, name: support})


def test_the_page_is_what_the_targets_say() -> None:
    page = Path(__file__).parents[2] / "docs" / "compatibility.md"
    known = load.targets()
    assert page.read_text() == pages.page(known, compatibility.table(known)), (
        "write it anew: edgekit targets --markdown > docs/compatibility.md"
    )


def test_the_table_has_a_cell_for_everything() -> None:
    known = load.targets()
    found = compatibility.table(known)
    assert len(found) == len(known) * sum(map(len, FORMAT_SCHEMES.values()))
    assert all(bool(one.runtime) != bool(one.refused) for one in found)


def test_int8_runs_on_armv7_and_int4_does_not() -> None:
    assert compatibility.verdict(ARMV7, "tflite", "w8_a32_dynamic").runtime == "tflite"
    lost = compatibility.verdict(ARMV7, "tflite", "w4_a32_dynamic")
    assert "EMBEDDING_LOOKUP 4, it has 3" in lost.refused
    assert "no wheels for 32-bit ARM" in lost.refused


def test_files_are_written_for_the_runtime_that_is_there() -> None:
    assert compatibility.reader(RPI4, "tflite") is None
    assert compatibility.reader(ARMV7, "tflite") == "tflite"


def test_sigill_is_predicted() -> None:
    newer = with_runtime(RPI4, "torchscript", packages=("torch==2.10.0",), needs=("asimd", "asimddp"))
    assert "uses asimddp, which Cortex-A72 lacks" in compatibility.verdict(newer, "ptl", "w32_a32_float").refused
    assert "SIGILL" in preflight.unfit(newer, "torchscript")
    assert not preflight.unfit(with_runtime(load.target("rpi5"), "torchscript", needs=("asimddp",)), "torchscript")


def test_a_cortex_a9_has_no_vfpv4_and_is_refused() -> None:
    features = tuple(one for one in ARMV7.cpu.features if one != "vfpv4")
    older = replace(ARMV7, cpu=replace(ARMV7.cpu, name="Cortex-A9", features=features))
    assert "uses vfpv4, which Cortex-A9 lacks" in compatibility.verdict(older, "tflite", "w32_a32_float").refused


def test_a_runtime_that_does_not_fit_the_memory_is_refused() -> None:
    large = with_runtime(RPI4, "torchscript", ram_mb=950)
    assert "950 MB beside the model" in compatibility.verdict(large, "ptl", "w32_a32_float").refused


def test_a_recipe_that_fits_passes() -> None:
    for name in ("rpi4", "rpi5", "generic-armv7", "rpi2"):
        compatibility.refuse(recipe(), load.target(name))


def test_a_scheme_is_refused_with_the_line_to_change() -> None:
    with pytest.raises(SpecError, match=r"tflite/w4_a32_weight: .*DEQUANTIZE 6, it has 5") as caught:
        compatibility.refuse(recipe("convert.schemes=[w8_a8_static, w4_a32_weight]"), ARMV7)
    assert caught.value.where == "$.convert.schemes"
    assert caught.value.remedy == "leave it out: --set 'convert.schemes=[w8_a8_static]'"
    assert caught.value.exit_code == 3


def test_a_format_is_refused_with_the_line_to_change() -> None:
    with pytest.raises(SpecError, match="torch has no wheels for 32-bit ARM") as caught:
        compatibility.refuse(recipe("convert.formats=[tflite, ptl]"), ARMV7)
    assert caught.value.where == "$.convert.formats"
    assert caught.value.remedy == "leave it out: --set 'convert.formats=[tflite]'"


def test_a_recipe_may_let_drop_what_does_not_run_as_long_as_something_is_left() -> None:
    settings = ("convert.formats=[tflite, onnx, pte, ptl]", "convert.unfit=drop")
    asked = recipe(*settings)
    compatibility.refuse(asked, ARMV7)
    assert compatibility.runnable(asked, ARMV7) == ("tflite",)
    assert compatibility.runnable(asked, RPI4) == ("tflite", "onnx", "pte", "ptl")
    with pytest.raises(SpecError, match="onnxruntime has no wheels for 32-bit ARM"):
        compatibility.refuse(recipe("convert.formats=[onnx, pte]", "convert.unfit=drop"), ARMV7)


@pytest.mark.parametrize("name", ["minilm-formats", "gpt2-formats"])
def test_the_recipes_of_all_formats_fit_every_board(name: str) -> None:
    asked = load.recipe(load.recipe_file(name))
    assert set(asked.convert.formats) == set(FORMAT_SCHEMES)
    for target in load.targets():
        compatibility.refuse(asked, target)
        assert "tflite" in compatibility.runnable(asked, target)


def test_one_pair_that_does_not_run_does_not_stop_the_others() -> None:
    lacking = with_runtime(RPI4, "torchscript", lacks={"w8_a32_dynamic": "it dies of SIGILL"})
    settings = ("convert.formats=[tflite, ptl]", "convert.schemes=[w32_a32_float, w8_a32_dynamic]")
    compatibility.refuse(recipe(*settings), lacking)
    assert "dies of SIGILL" in compatibility.verdict(lacking, "ptl", "w8_a32_dynamic").refused
    with pytest.raises(SpecError, match="ptl/w8_a32_dynamic: torchscript: it dies of SIGILL"):
        compatibility.refuse(recipe("convert.formats=[ptl]", settings[1]), lacking)


def test_a_recipe_of_which_nothing_is_left_is_told_so() -> None:
    with pytest.raises(SpecError) as caught:
        compatibility.refuse(recipe("convert.schemes=[w4_a32_dynamic]"), ARMV7)
    assert "another target" in str(caught.value.remedy)


@pytest.mark.parametrize("verb", ["build", "search"])
def test_it_is_told_before_a_board_is_looked_for_and_before_data_is_read(verb: str, tmp_path: Path) -> None:
    from edgekit import pipeline

    name = "minilm-int8-demo" if verb == "build" else "minilm-search"
    with pytest.raises(SpecError, match="cannot run what the recipe asks for"):
        getattr(pipeline, verb)(
            name, target=ARMV7.name, overrides=["convert.schemes=[w4_a32_dynamic]"], home=Home(tmp_path / "home")
        )
    assert not (tmp_path / "home" / "cache" / "samples").exists()


def test_what_a_runtime_needs_has_a_source() -> None:
    with pytest.raises(SpecError, match="say where"):
        replace(RPI4.runtimes["litert"], needs=("asimd",), source="")
