"""The public face: what ``import edgekit`` offers, typed and documented."""

import inspect
import pkgutil
import subprocess
import sys
import typing

import pytest

import edgekit

PUBLIC = {
    "analyze", "assess", "bench", "build", "bundle_inspect", "bundle_trust", "bundle_verify", "deploy", "device_add",
    "device_down", "device_list", "device_probe", "device_remove", "device_up", "generate", "logs", "predict",
    "prune_releases", "recipes", "rollback", "search", "serve_local", "service", "status", "targets",
    "tune",
}  # fmt: skip


def test_the_public_names_are_these() -> None:
    assert set(edgekit.__all__) == {*PUBLIC, "Client"}


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_each_is_typed_and_documented(name: str) -> None:
    function = getattr(edgekit, name)
    assert inspect.getdoc(function)
    hints = typing.get_type_hints(function)
    assert set(inspect.signature(function).parameters) | {"return"} == set(hints)


def test_importing_edgekit_loads_nothing_heavy() -> None:
    code = "import sys, edgekit; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"torch", "paramiko", "yaml", "edgekit.pipeline"} & set(loaded)


def test_a_client_needs_the_standard_library_alone() -> None:
    code = "import sys, edgekit; edgekit.Client('unix:/nowhere'); print(*{m.partition('.')[0] for m in sys.modules})"
    ran = subprocess.run([sys.executable, "-s", "-c", code], check=True, capture_output=True, text=True)
    assert not {"paramiko", "yaml", "rich", "msgspec", "numpy", "platformdirs"} & set(ran.stdout.split())
    assert inspect.getdoc(edgekit.Client)


def test_no_module_takes_a_public_name_away() -> None:
    """A submodule of the same name would stand in the function's place as soon as it is imported."""
    names = {one.name for one in pkgutil.iter_modules(edgekit.__path__)}
    assert not names & PUBLIC
    assert callable(edgekit.search)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="bild"):
        edgekit.bild  # noqa: B018
