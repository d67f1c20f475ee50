"""May it be called again already? The generic cell rate algorithm (ITU-T I.371), on integers.

One number is kept for each rate: when the next call would be on time if they came evenly. A call may
be early by as many intervals as the burst allows.
"""

from broker.ledger.interface import Rate


def wait_us(rate: Rate, on_time: int, now: int) -> int:
    """For how long the call has to wait; 0 if it may go now. All in microseconds."""
    earliest = on_time - (rate.burst - 1) * rate.interval_us
    return max(0, earliest - now)


def after(rate: Rate, on_time: int, now: int) -> int:
    """When the call after this one would be on time, in microseconds."""
    return max(on_time, now) + rate.interval_us
