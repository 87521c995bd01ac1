"""How much memory this process takes. Imports nothing, so that it can be asked before anything else is loaded."""


def _kilobytes(path: str, key: str) -> int:
    try:
        with open(path) as file:
            for line in file:
                if line.startswith(key + ":"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


def rss(process: object = "self") -> int:
    """Resident set size in bytes; of another process by its number, 0 where that is gone."""
    return _kilobytes("/proc/{}/status".format(process), "VmRSS") * 1024


def high_water() -> int:
    """High-water mark of the resident set in bytes, since the process began."""
    return _kilobytes("/proc/self/status", "VmHWM") * 1024


def pss() -> int:
    """Proportional set size in bytes: pages shared with other processes count in part. 0 where the kernel is silent."""
    return _kilobytes("/proc/self/smaps_rollup", "Pss") * 1024
