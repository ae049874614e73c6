"""Waiting for what other processes do, however slow the machine is: a bound in seconds only ends what hangs."""

import time

import psutil
import pytest

HANG = 600  # seconds


def until(condition, step=0.02):
    """Wait until ``condition()`` gives something that is true, and return it."""
    end = time.monotonic() + HANG
    while not (result := condition()):
        if time.monotonic() > end:
            pytest.fail(f"waited for {HANG} s in vain")
        time.sleep(step)
    return result


def until_ended(processes):
    """Wait until processes are over; where nobody collects orphans, as in some containers, they stay as zombies."""
    until(lambda: not any(map(lives, processes)))


def lives(process):
    """Whether a process of psutil still runs."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
