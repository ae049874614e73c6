"""Forecasting and controlling the load of virtual distributed systems (VDS): what the chapters share.

The rooms, in the order of the data. Each imports only from rooms above it, and is entered by its face, the
``__init__.py`` that names what it offers.

- ``errors``: the family of errors that a reader can act on
- ``files``: the project's folder, files that are whole or not there, tables as Markdown
- ``registry``: names and what they stand for, a reader's own included
- ``telemetry``: what was measured: schema, reading and writing, faults, repair, units
- ``sources``: where it comes from: public traces, Prometheus, this host, logs; the store of many nodes
- ``testbed``: a small real VDS on this machine, and the recorder that measures it
- ``forecasting``: windows, leak checks, the target's past, time as input, simple forecasters, intervals
- ``networks``: all that needs TensorFlow: networks by name, the engine, training
- ``evaluation``: measures, significance, ranking
- (``control`` and ``serving`` will stand here)
- ``figures``: plots, their words, diagrams
- ``experiments``: notebooks as experiments: parameters, runs, sweeps, results, report
- ``claims``: the paper's claims as data, their judges, readings by hand
- ``chapters``: what one chapter alone needs, a module each
- ``cli``: the command ``vds``
"""

__version__ = "0.1.0"
