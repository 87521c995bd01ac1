"""The process that loads a runtime: ``python -m edgekit.agent.child``. Requests on stdin, replies on stdout.

It may crash: that is why it is a process of its own. It lives until its stdin ends.
"""

from __future__ import annotations

from edgekit.agent import memory


def main() -> None:
    # asked before the first import of ours, which are therefore made below
    bare = (memory.rss(), memory.pss())
    from edgekit.agent import serve
    from edgekit.agent.work import operations

    out = serve.claim_stdout()
    serve.serve(serve.Lines(0), out, operations(*bare), lambda *failure: None)


if __name__ == "__main__":
    main()
