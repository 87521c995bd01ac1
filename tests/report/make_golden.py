"""Write the golden report anew, after a change of wording that was meant."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent.parent), str(HERE.parent / "benchmark")]

if __name__ == "__main__":
    import bench_kit

    from edgekit.report import markdown

    markdown.write(bench_kit.result(), HERE / "report.md")
