from bundle_kit import keys, made

__all__ = ["keys", "made"]
