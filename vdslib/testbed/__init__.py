"""A small real VDS on this machine, and the recorder that measures it.

Modules by name, since each node of the testbed is a process of its own that starts here and stays small.
"""

__all__ = ["dispatcher", "measure", "node", "recorder", "workload"]
