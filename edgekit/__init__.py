"""edgekit: neural networks onto ARM boards, small, fast, right, and safe to update.

The functions of :mod:`edgekit.pipeline` are the public API, and what the command line calls::

    import edgekit

    built = edgekit.build("minilm-int8-demo", target="rpi4")
    edgekit.deploy(built.bundle, target="rpi4")
    benched = edgekit.bench(built.bundle, target="rpi4")
    print(edgekit.predict(["small fast web server"], target="rpi4").predictions[0].scores)

``edgekit.Client`` asks a service that runs somewhere. All are imported at first use: ``import edgekit`` alone loads
neither torch nor an SSH client. Results are rendered by :mod:`edgekit.report`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, List

if TYPE_CHECKING:
    from edgekit.client import Client
    from edgekit.pipeline import (
        analyze,
        assess,
        bench,
        build,
        bundle_inspect,
        bundle_trust,
        bundle_verify,
        deploy,
        device_add,
        device_down,
        device_list,
        device_probe,
        device_remove,
        device_up,
        generate,
        logs,
        predict,
        prune_releases,
        recipes,
        rollback,
        search,
        serve_local,
        service,
        status,
        targets,
        tune,
    )

__version__ = "0.1.0"
__all__ = [
    "Client",
    "analyze",
    "assess",
    "bench",
    "build",
    "bundle_inspect",
    "bundle_trust",
    "bundle_verify",
    "deploy",
    "device_add",
    "device_down",
    "device_list",
    "device_probe",
    "device_remove",
    "device_up",
    "generate",
    "logs",
    "predict",
    "prune_releases",
    "recipes",
    "rollback",
    "search",
    "serve_local",
    "service",
    "status",
    "targets",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name == "Client":
        from edgekit.client import Client

        return Client
    if name in __all__:
        from edgekit import pipeline

        return getattr(pipeline, name)
    raise AttributeError("module 'edgekit' has no attribute {!r}".format(name))


def __dir__() -> List[str]:
    return sorted([*globals(), *__all__])
