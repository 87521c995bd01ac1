"""A recipe for a language model: what it may ask for, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest

from edgekit.errors import DataError, SpecError
from edgekit.spec import codec
from edgekit.spec.manifest import Artifact, Blob, Manifest, Signature
from edgekit.spec.recipe import Recipe
from edgekit.spec.result import Measured
from edgekit.spec.step import StepReport
from edgekit.spec.task import NextTokens

DATA = {"source": "text", "files": ["a.txt"]}


def recipe(**changed: Any) -> Recipe:
    plain = {"name": "x", "task": "language", "model": {"path": "gpt2"}, "data": DATA}
    return codec.decode(Recipe, {**plain, **changed})


def test_a_language_models_recipe_may_bound_both_accuracy_and_perplexity() -> None:
    made = recipe(gates={"perplexity_rise": 5, "accuracy_drop": 1}, compress=[{"finetune": {}}, {"qat": {}}])
    assert (made.task, made.gates.perplexity_rise) == ("language", 5.0)


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"data": {**DATA, "labels": ["a", "b"]}}, "$.data.labels"),
        ({"data": {**DATA, "unlabeled": DATA}, "compress": [{"distill": {}}]}, "$.data.unlabeled"),
        ({"compress": [{"hash": {}}]}, "$.compress[0].hash"),
        ({"compress": [{"finetune": {}}, {"factor": {"embedding": 8}}]}, "$.compress[1].factor.embedding"),
        ({"compress": [{"distill": {"losses": {"self": 1}}}]}, "$.compress[0].distill.losses.self"),
        ({"compress": [{"distill": {"teachers": ["other"]}}]}, "$.compress[0].distill.teachers"),
        ({"search": {"ranges": [{"path": "seed", "choices": [1, 2]}]}}, "$.search"),
    ],
)
def test_what_a_language_model_has_not_is_refused_at_its_place(changed: dict[str, Any], where: str) -> None:
    with pytest.raises(SpecError) as caught:
        recipe(**changed)
    assert caught.value.where == where
    assert caught.value.remedy


def test_a_classifier_has_no_perplexity_and_no_plain_lines() -> None:
    labelled = {"source": "jsonl", "files": ["a.jsonl"]}
    with pytest.raises(SpecError, match="perplexity") as caught:
        recipe(task="classify", data=labelled, gates={"perplexity_rise": 5})
    assert caught.value.where == "$.gates.perplexity_rise"
    with pytest.raises(SpecError, match="no labels") as caught:
        recipe(task="classify")
    assert caught.value.where == "$.data.source"


def test_perplexity_is_e_to_the_mean_of_a_token() -> None:
    uniform = NextTokens(hits=1, tokens=4, nll=4 * math.log(50))
    assert uniform.perplexity == pytest.approx(50)
    assert uniform.accuracy == 25.0
    assert math.isfinite(NextTokens(0, 1, 1e6).perplexity), "a manifest holds no infinity"


def test_texts_of_one_token_are_no_texts_told_perfectly() -> None:
    with pytest.raises(DataError, match="two tokens") as caught:
        _ = NextTokens(0, 0, 0.0).perplexity
    assert caught.value.where == "$.data"
    assert NextTokens(0, 0, 0.0).accuracy == 0.0


def test_what_was_written_before_there_were_language_models_still_decodes() -> None:
    report = codec.decode(StepReport, {"kind": "finetune", "parameters": 1, "validation_accuracy": 80.0})
    assert report.perplexity is None
    times = dict.fromkeys(("import_ms", "init_ms", "first_ms"), 1.0)
    sizes = dict.fromkeys(("bare_rss", "bare_pss", "vm_hwm", "pss"), 1)
    old = {**times, **sizes, "end_to_end": [1.0], "model_only": [1.0], "labels": [0]}
    assert codec.decode(Measured, old).language is None
    blob = {"sha256": "0" * 64, "size": 1}
    artifact = {"name": "a", "role": "optimized", "format": "tflite", "scheme": "w8_a8_static", "signatures": []}
    assert codec.decode(Artifact, {**artifact, "blob": blob, "tokenizer": blob}).perplexity is None


def test_only_tflite_and_onnx_files_generate_and_a_classifier_follows_as_tflite() -> None:
    asked = {"generation": {"context": 64}}
    assert recipe(convert=asked).convert.context == 64
    assert recipe().convert.context == 0
    labelled = {"task": "classify", "data": {"source": "debian-sections"}}
    following = {**labelled, "convert": {**asked, "formats": ["tflite"]}}
    assert recipe(**following).convert.context == 64
    for changed, where in (
        ({**labelled, "convert": {**asked, "formats": ["tflite", "onnx"]}}, "$.convert.formats"),
        ({"convert": {**asked, "formats": ["tflite", "ptl"]}}, "$.convert.formats"),
        ({"convert": {"generation": {"context": 1}}}, "$.convert.generation.context"),
    ):
        with pytest.raises(SpecError) as refused:
            recipe(**changed)
        assert refused.value.where == where


def test_a_language_bundle_whose_artifacts_do_not_name_the_task_still_generates() -> None:
    none = Blob("0" * 64, 1)
    decode = Signature("decode", 64, (), (), "decode")
    old = Artifact("a", "optimized", "tflite", "w8_a8_static", none, none, (decode,))
    made = Manifest("m", "language", "0" * 64, "1" * 64, 7, (), (old,), none, none)
    assert (made.optimized.generates, made.optimized.follows) == (True, False)
    other = Manifest("m", "classify", "0" * 64, "1" * 64, 7, ("a", "b"), (old,), none, none)
    assert (other.optimized.generates, other.optimized.follows) == (False, True)
