import sys
from pathlib import Path

# the hand-made results stand with the tests of what computes them
sys.path.insert(0, str(Path(__file__).parent.parent / "benchmark"))
