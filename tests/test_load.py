"""Every bad recipe gets an error that names file, line, path, what was given, what is allowed and what is near."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from edgekit import load
from edgekit.errors import SpecError, UsageError
from edgekit.load.yaml_text import parse, scalar
from edgekit.spec import codec
from edgekit.spec.data import DataSpec
from edgekit.spec.distill import Distill
from edgekit.spec.prune import Prune
from edgekit.spec.quantize import Convert
from edgekit.spec.recipe import Gates, ModelSpec, Recipe, Step
from edgekit.spec.steps import Finetune, Vocabulary
from edgekit.spec.target import Target

GOOD = """\
name: mine
model:
  path: ./model
data:
  source: jsonl
  files: [mine.jsonl]
compress:
  - finetune: {epochs: 2, learning_rate: 1e-4}
  - prune: {ffn: 768}
gates:
  size_mb: 10
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Any:
    def write(text: str, *overrides: str) -> Recipe:
        file = tmp_path / "r.yaml"
        file.write_text(text)
        return load.recipe(file, overrides)

    return write


def test_a_good_recipe_loads(recipe: Any) -> None:
    loaded = recipe(GOOD)
    assert loaded.compress[0].finetune == Finetune(epochs=2, learning_rate=1e-4)
    assert loaded.gates == Gates(size_mb=10.0)
    assert loaded.model.path == "./model"


#: what is changed in GOOD → line, path, given, allowed, mend (a part of each; None: not said)
BAD = [
    ("gates:", "gate:", 10, "$.gate: unknown key", "gate", "compress, convert", "did you mean 'gates'"),
    ("path: ./model", "pth: ./model", 3, "$.model.pth: unknown key", "pth", "package, path, pooling", "'path'"),
    ("source: jsonl", "source: json", 5, "$.data.source: not one of", "'json'", "csv, debian-sections", "'jsonl'"),
    ("  source: jsonl\n", "", 4, "$.data: missing key 'source'", "files", "config", "add 'source:'"),
    ("[mine.jsonl]", "mine.jsonl", 6, "$.data.files: expected a list", "mine.jsonl", "a list", "[mine.jsonl]"),
    ("[mine.jsonl]", "[3.10]", 6, "$.data.files[0]: expected a text", "3.1 (a number)", "a text", '"3.10"'),
    (
        "epochs: 2",
        "epochs: two",
        8,
        "$.compress[0].finetune.epochs: expected",
        "'two' (a text)",
        "a whole number",
        None,
    ),
    ("epochs: 2", "epochs: 1.5", 8, "$.compress[0].finetune.epochs", "1.5 (a number)", "a whole number", None),
    ("epochs: 2", "epochs: true", 8, "$.compress[0].finetune.epochs", "True (true or false)", "a whole number", None),
    ("epochs: 2", "epochs: 0", 8, "$.compress[0].finetune.epochs: too small", "0", "1 or more", None),
    ("1e-4", "7.0", 8, "$.compress[0].finetune.learning_rate: out of range", "7.0", "1e-08 to 1.0", None),
    ("- prune:", "- prun:", 9, "$.compress[1].prun: unknown key", "prun", "hash, prune, qat", "'prune'"),
    ("{ffn: 768}", "", 9, "$.compress[1].prune: expected a mapping", "nothing", "a mapping", "write {}"),
    ("{ffn: 768}", "{ffn: 10}", 9, "$.compress[1].prune.ffn: widths are multiples of 8", "10", None, None),
    ("- prune: {ffn: 768}", "- {}", 9, "$.compress[1]: a step is exactly one", "none", "finetune, vocabulary", None),
    ("size_mb: 10", "size_mb: big", 11, "$.gates.size_mb: expected a number", "'big'", "a number or nothing", None),
    ("size_mb: 10", "size_mb: .nan", 11, "$.gates.size_mb: expected a number", "'.nan'", "a number or nothing", None),
    ("name: mine", "name: mine\nname: yours", 2, "$.name: the key 'name' stands here twice", None, None, "line 1's"),
    ("  size_mb", "\tsize_mb", 11, "not valid YAML", None, None, "spaces"),
    ("[mine.jsonl]", "[mine.jsonl", 7, "not valid YAML", None, None, None),
    ("path: ./model", "path: &a ./model", 3, "anchors are not accepted", None, None, "write the value out"),
    (
        "path: ./model",
        "path: !!python/name:os.system x",
        3,
        "$.model.path: tags are not accepted",
        "python",
        None,
        None,
    ),
    ("name: mine", "name: mine\n---\nname: two", 2, "not valid YAML", None, None, None),
    ("name: mine", "name: mine\nschema: 9", 2, "$.schema: unknown recipe schema", "9", "1", None),
]


@pytest.mark.parametrize(("old", "new", "line", "head", "given_", "allowed", "mend"), BAD, ids=[one[1] for one in BAD])
def test_errors(
    recipe: Any, tmp_path: Path, old: str, new: str, line: int, head: str, given_: str, allowed: str, mend: str
) -> None:
    assert GOOD.count(old) == 1
    with pytest.raises(SpecError) as caught:
        recipe(GOOD.replace(old, new))
    error = caught.value
    assert error.exit_code == 3
    text = str(error)
    assert text.startswith(f"{tmp_path / 'r.yaml'}:{line}"), text
    assert head in text.splitlines()[0]
    for label, part in (("given:", given_), ("allowed:", allowed), ("mend:", mend)):
        (told,) = [one for one in text.splitlines() if one.strip().startswith(label)] or [None]
        assert (part is None) or (told is not None and part in told), (label, told)


def test_all_problems_at_once_in_the_order_of_the_file(recipe: Any, tmp_path: Path) -> None:
    bad = GOOD.replace("path:", "pth:").replace("jsonl\n", "json\n", 1).replace("epochs: 2", "epochs: x")
    with pytest.raises(load.Problems) as caught:
        recipe(bad)
    lines = [str(one.where) for one in caught.value.problems]
    assert [one.split()[0].rsplit(":")[-1] for one in lines] == ["3", "5", "8"]
    assert str(caught.value).startswith(f"{tmp_path / 'r.yaml'}: 3 problems")
    document = json.loads(json.dumps(caught.value.to_json()))
    assert document["error"] == "SpecError"
    assert len(document["problems"]) == 3


@pytest.mark.parametrize(
    "text", ["", "# only a comment\n", "\x00", "just text", "- a\n- list", "[" * 1000, "? [a]\n: b"]
)
def test_what_is_no_recipe_at_all(recipe: Any, text: str) -> None:
    with pytest.raises(SpecError):
        recipe(text)


def test_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_bytes(b"name: \xff\xfe\xfa")
    with pytest.raises(SpecError, match="not a YAML text file"):
        load.recipe(tmp_path / "r.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        ("-.5e+2", -50.0),
        (".5", 0.5),
        ("2.", 2.0),
        ("010", 10),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("1.2.3", "1.2.3"),
        ("e5", "e5"),
        (".", "."),
        ("-", ["-"]),
        ("~", None),
        ("", None),
        ("'1e-4'", "1e-4"),
        ("[no, 1e-4, ~]", ["no", 1e-4, None]),
    ],
)
def test_scalars_are_yaml_1_2(text: str, value: object) -> None:
    if text == "-":  # a lone dash opens a list
        value = [None]
    found = scalar(text)
    assert found == value
    assert type(found) is type(value)


def test_too_large_a_number() -> None:
    with pytest.raises(SpecError, match="too large"):
        scalar("1e999")


# --set


def test_overrides_reach_values_lists_and_what_the_file_left_out(recipe: Any) -> None:
    loaded = recipe(
        GOOD,
        "compress.0.finetune.epochs=1",
        "$.compress[1].prune.heads=4",
        "convert.calibration.samples=10",
        "data.labels=[no, yes]",
        "gates.size_mb=null",
        "data.files.0=a=b.jsonl",
    )
    assert loaded.compress[0].finetune.epochs == 1
    assert loaded.compress[1].prune == Prune(ffn=768, heads=4)
    assert loaded.convert.calibration.samples == 10
    assert loaded.data.labels == ("no", "yes")
    assert loaded.gates.size_mb is None
    assert loaded.data.files == ("a=b.jsonl",)


@pytest.mark.parametrize(
    ("setting", "parts"),
    [
        ("gates.size=1", ["--set gates.size=1 $.gates.size: unknown key", "'size_mb'"]),
        ("compress.0.finetune.epochs=x", ["--set compress.0.finetune.epochs=x", "'x' (a text)", "a whole number"]),
        ("compress.0.finetune.epochs=0", ["--set compress.0.finetune.epochs=0", "too small", "1 or more"]),
        ("compress.7.finetune.epochs=1", ["no such list item", "given:   7", "0 to 1"]),
        ("name.first=x", ["nothing below", "$.name"]),
        ("gates.size_mb=[", ["--set gates.size_mb=[", "not valid YAML"]),
    ],
)
def test_bad_overrides(recipe: Any, setting: str, parts: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        recipe(GOOD, setting)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize("setting", ["gates.size_mb", "=3", "gates..size_mb=3"])
def test_an_override_without_key_and_value_is_a_usage_error(recipe: Any, setting: str) -> None:
    with pytest.raises(UsageError, match="key=value"):
        recipe(GOOD, setting)


# names


def test_an_unknown_name_lists_the_nearest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError) as caught:
        load.target("rpi44")
    assert caught.value.exit_code == 3
    assert "'rpi4'" in str(caught.value)
    assert "generic-aarch64" in str(caught.value)
    with pytest.raises(SpecError, match="no such file"):
        load.recipe("./nowhere.yaml")
    with pytest.raises(SpecError, match="folder"):
        load.recipe(f"{tmp_path}/../{tmp_path.name}")


def test_targets_of_ones_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = (load.files.packaged("targets") / "rpi4.yaml").read_text()
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "mine.yaml").write_text(text.replace("name: rpi4", "name: mine"))
    (tmp_path / "targets" / "rpi4.yaml").write_text("name: shadow")
    monkeypatch.setenv("EDGEKIT_HOME", str(tmp_path))
    assert load.target("mine").name == "mine"
    assert load.target("rpi4").name == "rpi4", "a file of one's own does not change what a packaged name means"
    assert "mine" in [one.name for one in load.targets()]
    monkeypatch.delenv("EDGEKIT_HOME")
    assert load.target("mine", extra=[tmp_path / "targets"]).name == "mine"


def test_an_installed_wheel_finds_its_files(tmp_path: Path) -> None:
    """As the wheel lays them out: ``edgekit/_files`` and no pyproject.toml beside the package."""
    checkout = Path(load.__file__).parents[2]
    for part in ("__init__.py", "errors.py"):
        (tmp_path / "edgekit").mkdir(exist_ok=True)
        shutil.copy(checkout / "edgekit" / part, tmp_path / "edgekit")
    for part in ("spec", "load"):
        shutil.copytree(checkout / "edgekit" / part, tmp_path / "edgekit" / part)
    shutil.copytree(checkout / "targets", tmp_path / "edgekit" / "_files" / "targets")
    code = "from edgekit import load; print(load.files.find('targets', 'rpi4')); print(load.target('rpi4').name)"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.split() == [str(tmp_path / "edgekit" / "_files" / "targets" / "rpi4.yaml"), "rpi4"]


# what comes with edgekit, and the schemas


@pytest.mark.parametrize("file", sorted(load.files.packaged("recipes").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_packaged_recipe_loads(file: Path) -> None:
    assert load.recipe(file) == load.recipe(file.stem)
    assert file == load.recipe_file(file.stem)


@pytest.mark.parametrize("kind", [Recipe, Target])
def test_schema_is_strict_and_described(kind: type) -> None:
    made = load.schema(kind)
    Draft202012Validator.check_schema(made)
    assert "anyOf" not in json.dumps(made)
    for one in made["$defs"].values():
        assert one["additionalProperties"] is False
        assert one["description"]
    assert set(made["$defs"][kind.__name__]["properties"]) == {one.name for one in dataclasses.fields(kind)}


def test_schema_describes_fields_by_their_docstring() -> None:
    made = load.schema(Recipe)["$defs"]
    assert "rising" not in made["Gates"]["properties"]["size_mb"]["description"]
    assert "1 MB = 10⁶ bytes" in made["Gates"]["properties"]["size_mb"]["description"]
    assert made["DataSpec"]["properties"]["lengths"]["description"].startswith("lengths are the length buckets")


# round trips

_names = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8)
_whole = st.integers(1, 10_000)
_rate = st.floats(1e-8, 1.0)
_layers = st.sets(st.integers(0, 24), min_size=1).map(lambda one: tuple(sorted(one)))
_steps = st.one_of(
    st.builds(Finetune, epochs=_whole, learning_rate=_rate, batch=_whole).map(lambda one: Step(finetune=one)),
    st.builds(Vocabulary, min_count=_whole).map(lambda one: Step(vocabulary=one)),
    st.builds(Distill, layers=_layers, epochs=_whole, learning_rate=_rate).map(lambda one: Step(distill=one)),
    st.builds(Prune, ffn=st.integers(1, 400).map(lambda one: one * 8), layers=st.none() | _whole).map(
        lambda one: Step(prune=one)
    ),
)
_recipes = st.builds(
    Recipe,
    name=st.from_regex(r"[a-z][a-z0-9_.\-]{0,10}", fullmatch=True),
    model=st.builds(ModelSpec, path=_names),
    data=st.builds(
        DataSpec,
        source=st.sampled_from(["jsonl", "csv"]),
        files=st.lists(_names, min_size=1).map(tuple),
        labels=st.lists(_names | st.sampled_from(["no", "yes", "1e-4", "null", "010", "~", "2024-01-01"])).map(tuple),
        lengths=st.sets(st.integers(4, 512), min_size=1).map(lambda one: tuple(sorted(one))),
    ),
    # the reference first: no step that trains it comes after one that compresses
    compress=st.lists(_steps, max_size=4).map(lambda steps: tuple(sorted(steps, key=lambda one: one.finetune is None))),
    convert=st.just(Convert()),
    gates=st.builds(Gates, accuracy_drop=st.none() | st.floats(0, 100), size_mb=st.none() | st.floats(0, 1e9)),
    description=_names,
    seed=st.integers(0, 2**31),
)


@settings(max_examples=60, deadline=None)
@given(_recipes)
def test_recipes_survive_yaml_and_json(value: Recipe) -> None:
    text = json.dumps(codec.encode(value), ensure_ascii=False)  # JSON is YAML
    document = parse(text, "r.yaml")
    assert document.data == codec.encode(value)
    assert not list(Draft202012Validator(load.schema(Recipe)).iter_errors(document.data))
    assert load.validate(document, Recipe) == value
    assert codec.loads(Recipe, codec.dumps(value)) == value


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60) | st.binary(max_size=40))
def test_any_text_is_read_or_refused_in_our_words(text: str | bytes) -> None:
    with contextlib.suppress(SpecError):
        parse(text, "x.yaml")


@settings(max_examples=100, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda one: (
            st.lists(one)
            | st.dictionaries(st.sampled_from(["name", "model", "data", "path", "source", "compress", "prune"]), one)
        ),
    )
)
def test_any_document_is_refused_in_our_words(data: object) -> None:
    text = yaml.safe_dump({"name": "x", "model": data, "data": data, "compress": data})
    with pytest.raises(SpecError):
        load.validate(parse(text, "x.yaml"), Recipe)
