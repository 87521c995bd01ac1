"""``edgekit deploy``: a bundle goes onto a device."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from edgekit.cli.options import Verbs, add_device, home, verb
from edgekit.cli.paper import megabytes, short
from edgekit.cli.serve import add_listen
from edgekit.cli.status import show_service
from edgekit.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from edgekit.cli.progress import Progress
    from edgekit.outcome import Deployed


def add(verbs: Verbs) -> None:
    parser = verb(
        verbs,
        "deploy",
        "put a bundle on a device, check its health, or go back",
        run,
        show,
        description="Put a bundle on a device: send what is missing, switch to it, check its health there, or go back.",
    )
    parser.add_argument("bundle", nargs="?", metavar="BUNDLE", help="a bundle's folder or digest; else the newest one")
    add_device(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the plan, change no release")
    parser.add_argument("--service", action="store_true", help="have the device serve it over HTTP, now and at boot")
    add_listen(parser)


def run(args: Namespace, progress: Progress) -> Deployed:
    from edgekit import pipeline

    if not args.service and (args.listen or args.token_file):
        raise UsageError("--listen and --token-file belong to --service")
    return pipeline.deploy(
        args.bundle,
        target=args.target,
        device=args.device,
        dry_run=args.dry_run,
        service=args.service,
        listen=args.listen,
        token_file=args.token_file,
        home=home(args),
        report=progress,
    )


def show(args: Namespace, deployed: Deployed, paper: Console) -> None:
    paper.print(f"bundle {short(deployed.digest)}: {deployed.bundle}")
    paper.print(f"device {deployed.device}")
    if deployed.already:
        paper.print("already deployed: nothing to do")
    else:
        paper.print("would do:" if deployed.dry_run else "done:")
        for step in deployed.plan:
            paper.print(f"  {step}")
    if deployed.health:
        paper.print(f"health: {deployed.health.agreed} of {deployed.health.cases} golden cases agree on the device")
        paper.print(f"sent {megabytes(deployed.sent_bytes)} in {deployed.seconds:.1f} s")
    if deployed.service:
        show_service(deployed.service, paper)
