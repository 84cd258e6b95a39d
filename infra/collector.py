"""The garbage collector of long-lived processes."""

import gc


def tune_collector() -> None:
    """Keep the collector away from what lives as long as the process, and from every few requests or facts."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 1000)
