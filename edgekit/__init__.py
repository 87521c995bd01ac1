"""edgekit: neural networks onto ARM boards, small, fast, right, and safe to update."""

__version__ = "0.1.0"
