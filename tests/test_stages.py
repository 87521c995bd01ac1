"""The stage cache: whole or not there, and resumed where it was."""

from pathlib import Path

import pytest

from edgekit.stages import Stages


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
