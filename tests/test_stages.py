"""The stage cache: whole or not there, and resumed where it was."""

import errno
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgekit.spec.lock import Stage
from edgekit.stages import Stages, files_digest


def test_a_stage_runs_once_for_the_same_inputs(tmp_path: Path) -> None:
    stages = Stages(tmp_path)
    calls: list[Path] = []

    def make(part: Path) -> None:
        calls.append(part)
        (part / "file").write_text("x")

    first = stages.run("prune", {"ffn": 8}, make)
    assert stages.run("prune", {"ffn": 8}, make) == first
    assert (first / "file").read_text() == "x"
    assert stages.run("prune", {"ffn": 16}, make) != first
    assert len(calls) == 2
    assert stages.reused == ["prune"]


def test_what_went_in_and_came_out_is_recorded_cached_or_not(tmp_path: Path) -> None:
    def record(folder: Path, text: str, inputs: int) -> list[Stage]:
        told: list[Stage] = []
        stages = Stages(folder, watch=told.append)
        for _ in range(2):
            stages.run("prune", inputs, lambda part: (part / "file").write_text(text))
        assert told == stages.records
        assert len(told) == 1
        return told

    first = record(tmp_path / "a", "x", 1)
    assert record(tmp_path / "a", "another, never made", 1) == first
    assert record(tmp_path / "b", "x", 1) == first
    assert record(tmp_path / "c", "y", 1)[0].output != first[0].output
    assert record(tmp_path / "d", "x", 2)[0].input != first[0].input


def test_what_measures_is_not_recorded_and_what_is_noise_is_left_out(tmp_path: Path) -> None:
    stages = Stages(tmp_path)
    stages.run("price", 1, lambda part: (part / "seconds").write_text("1.5"), None)
    stages.run("train", 1, lambda part: (part / "seconds").write_text("1.5"), lambda folder: "what counts")
    assert [(one.name, one.output) for one in stages.records] == [("train", "what counts")]


def test_the_digest_of_files_knows_names_contents_and_folders(tmp_path: Path) -> None:
    def of(**files: str) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        for name, text in files.items():
            file = folder / name.replace("__", "/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return files_digest(folder)

    assert of(a="1", b="2") == of(b="2", a="1")
    assert len({of(a="1", b="2"), of(a="2", b="1"), of(a="12"), of(a="1", c="2"), of(a="1", sub__b="2")}) == 5


def test_an_interrupted_stage_leaves_nothing_finished_and_hands_its_work_on(tmp_path: Path) -> None:
    stages = Stages(tmp_path)

    def dies(part: Path) -> None:
        (part / "checkpoint").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stages.run("distill", 1, dies)
    assert not [one for one in tmp_path.iterdir() if one.is_dir() and not one.name.endswith(".part")]

    def resumes(part: Path) -> None:
        assert (part / "checkpoint").read_text() == "half"
        (part / "model").write_text("whole")

    assert (stages.run("distill", 1, resumes) / "model").read_text() == "whole"


@pytest.mark.parametrize(("free", "kind"), [(4096, OSError), (10**10, RuntimeError)])
def test_a_full_disk_is_told_as_such_whatever_the_library_that_met_it_says(
    free: int, kind: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(part: Path) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534")

    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=free))
    with pytest.raises(kind) as caught:
        Stages(tmp_path).run("finetune", 1, make)
    if isinstance(caught.value, OSError):
        assert (caught.value.errno, caught.value.filename) == (
            errno.ENOSPC,
            str(next(tmp_path.glob("finetune-*.part"))),
        )
