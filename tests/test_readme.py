"""The README's recipe is what a newcomer copies first."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path

import pytest

from edgekit import load
from edgekit.data import samples
from edgekit.errors import DataError
from edgekit.spec.recipe import Recipe

README = Path(__file__).parent.parent / "README.md"


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    block = re.search(r"^( *```yaml\n.*?)^ *```", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert block, "the README shows a recipe"
    file = tmp_path / "mine.yaml"
    file.write_text(textwrap.dedent(block[1]).partition("\n")[2])
    return load.recipe(file)


def test_the_recipe_decodes(recipe: Recipe) -> None:
    assert recipe.data.files == ("mine.jsonl",)
    assert recipe.compress[0].kind == "finetune"


def test_too_few_texts_say_which_defaults_to_lower(tmp_path: Path) -> None:
    rows = [{"text": f"text {number}", "label": "ab"[number % 2]} for number in range(60)]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nmodel: {path: x}\ndata: {source: jsonl, files: [mine.jsonl]}\n")
    with pytest.raises(DataError) as caught:
        samples.prepare(load.recipe(file).data, tmp_path, tmp_path / "out", 7)
    for said in ("60 distinct texts", "data.test (default 2000)", "data.validation (default 500)"):
        assert said in str(caught.value)
    assert "convert.calibration.samples (default 256)" in str(caught.value)
