"""How fast the engine trains, beside other ways, all in one run: `make bench`.

Every way trains the network `textbook` on the recorded telemetry, batch by batch, with Adam. The ways take turns for
some rounds, so that a slow moment of the machine meets all of them; ratios are taken within a round. Writes
`engine_benchmark.csv` and `engine_growth.csv`, from which chapter 3.3 makes its table and figure, and prints the rest.

PyTorch has an environment of its own (`_build/torch`), since the book does not need it.
"""

from __future__ import annotations

import csv
import functools
import json
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from inputs import STAMP

from vdslib import files, forecasting
from vdslib.networks import History, Job, Settings, Trained, by_layers, engine, keras, models, training
from vdslib.telemetry import read, select

FEATURES = [*forecasting.USAGES, "system_productivity"]
BATCH, EPOCHS, ROUNDS = 16, 3, 7
FIT = "Keras fit"

Way = Callable[[], float]  # trains for a while; milliseconds per step and model


def recorded() -> forecasting.Prepared:
    """The data of chapter 3.3."""
    frame = select(read("recorded"), "system")
    return forecasting.prepare(frame, features=FEATURES, target=FEATURES[-1])


def network(seed: int, unroll: bool = False) -> keras.Model:
    """The network `textbook`; `unroll` lets Keras write out the loop over time."""
    model = models.build("textbook", window=10, features=len(FEATURES), seed=seed)
    for layer in model.layers[:-1:2]:
        layer.unroll = unroll
    return model


def steps(windows: forecasting.Windows) -> int:
    """Training steps in an epoch."""
    return -(-len(windows) // BATCH)


def timed(work: Callable[[], Any]) -> float:
    """Seconds that `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


# --------------------------------------------------------------------------------- one step, many ways


def by_fit(windows: forecasting.Windows, per_execution: int, unroll: bool) -> Way:
    """Keras `fit`, without validation and output."""
    model = training.compile(network(1, unroll))
    model.compile("adam", "mse", steps_per_execution=per_execution, jit_compile=False)
    x, y = windows.x.astype("float32"), windows.y.astype("float32")

    def work() -> float:
        return (
            timed(lambda: model.fit(x, y, batch_size=BATCH, epochs=EPOCHS, verbose=0))
            / EPOCHS
            / steps(windows)
            * 1e3
        )

    return work


def job(windows: forecasting.Windows, seed: int) -> Job:
    """A job without early stopping and validation."""
    return Job(network, windows, None, Settings(epochs=EPOCHS, patience=0, restore_best=False), seed)


def by_stack(windows: forecasting.Windows, models: int, change: Callable[[Any], None] | None = None) -> Way:
    """One stack of the engine on one thread; `change` may take a part of the engine away."""

    def work() -> float:
        jobs = [
            (job(windows, seed), Trained(training.compile(network(seed)), History()))
            for seed in range(models)
        ]
        stack = engine.Stack(jobs, models)
        if change:
            stack.program = programs.setdefault(models, stack.program)
        return timed(stack.train) / EPOCHS / steps(windows) / models * 1e3

    programs: dict[int, Any] = {}
    if change:
        first = training.compile(network(0))
        programs[models] = engine._Program(first, Settings())
        change(programs[models])
    return work


def by_train(windows: forecasting.Windows, models: int) -> Way:
    """`training.train`, which deals the models to the cores; building them is not counted."""

    def work() -> float:
        built = {seed: network(seed) for seed in range(models)}
        jobs = [replace(job(windows, seed), build=built.__getitem__) for seed in range(models)]
        return timed(lambda: training.train(jobs)) / EPOCHS / steps(windows) / models * 1e3

    return work


def without_xla(program: Any) -> None:
    """Leave the compiling to TensorFlow."""
    program.train = engine.tf.function(program._train, autograph=False)


def with_keras_layers(program: Any) -> None:
    """Only the compiled epoch: Keras' layers, TensorFlow's compiler."""
    program.forward = by_layers(network(0, unroll=True))
    without_xla(program)


class Torch:
    """PyTorch in a process of its own, which trains an epoch for each line it reads."""

    def __init__(self, windows: forecasting.Windows, threads: int, folder: Path) -> None:
        data = folder / "windows.npz"
        np.savez(data, x=windows.x.astype("float32"), y=windows.y.astype("float32"))
        script = Path(__file__).with_name("bench_torch.py")
        command = [str(folder / "torch" / "bin" / "python"), str(script), str(data), str(threads), str(BATCH)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self) -> float:
        assert self.process.stdin and self.process.stdout
        print(file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())


def ways(windows: forecasting.Windows, folder: Path) -> dict[tuple[str, int], Way]:
    """Everything that is compared, by name and number of models."""
    epoch = steps(windows)
    found: dict[tuple[str, int], Way] = {
        (FIT, 1): by_fit(windows, 1, unroll=False),
        ("Keras fit, an epoch in one call (steps_per_execution)", 1): by_fit(windows, epoch, unroll=False),
        ("the same, loop over time written out (unroll)", 1): by_fit(windows, epoch, unroll=True),
        ("compiled epoch, Keras layers", 1): by_stack(windows, 1, with_keras_layers),
        ("engine without XLA", 1): by_stack(windows, 1, without_xla),
        ("engine", 1): by_stack(windows, 1),
        ("engine, one stack", 5): by_stack(windows, 5),
        ("engine, one stack", 20): by_stack(windows, 20),
        ("engine, dealt to the cores", 5): by_train(windows, 5),
        ("engine, dealt to the cores", 20): by_train(windows, 20),
    }
    if (folder / "torch").exists():
        for threads in (1, 2):
            found[f"PyTorch, eager, threads: {threads}", 1] = Torch(windows, threads, folder)
    return found


def arithmetic(windows: forecasting.Windows) -> float:
    """Milliseconds that the products of one step take on one core, at the speed of a small product."""
    a, b = np.ones((160, 96), "float32"), np.ones((96, 256), "float32")
    script = (
        "import os, time; os.environ['OPENBLAS_NUM_THREADS'] = '1'; import numpy as np\n"
        f"a, b = np.ones({a.shape}, 'float32'), np.ones({b.shape}, 'float32'); best = 9.0\n"
        "for _ in range(50):\n"
        "    start = time.perf_counter()\n"
        "    for _ in range(100): a @ b\n"
        "    best = min(best, time.perf_counter() - start)\n"
        "print(best / 100)"
    )
    seconds = float(
        subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    )
    speed = 2 * 160 * 96 * 256 / seconds
    sizes = [(len(FEATURES), 64), (64, 32)]
    forward = sum(2 * 4 * units * (inputs + units) for inputs, units in sizes) * windows.x.shape[1] * BATCH
    return 3 * forward / speed * 1e3  # the way back costs twice the way forth


def compare(windows: forecasting.Windows, folder: Path) -> list[dict[str, Any]]:
    """Let all ways take turns; milliseconds, and how many times faster than `fit`, with the range over rounds."""
    contestants = ways(windows, folder)
    for way in contestants.values():  # tracing and compiling are not what is compared here
        way()
    measured: dict[tuple[str, int], list[float]] = {name: [] for name in contestants}
    for number in range(ROUNDS):
        print(f"round {number + 1} of {ROUNDS}", flush=True)
        for name, way in contestants.items():
            measured[name].append(way())
    base = np.array(measured[FIT, 1])
    rows = []
    for (name, count), values in measured.items():
        ratio = base / np.array(values)
        rows.append(
            {
                "way": name,
                "models": count,
                "ms_per_step": round(float(np.median(values)), 3),
                "times_faster": round(float(np.median(ratio)), 2),
                "lowest": round(float(ratio.min()), 2),
                "highest": round(float(ratio.max()), 2),
            }
        )
    return rows


# ------------------------------------------------------------------------- a whole job, growth, memory


def whole_job(way: str, epochs: int = 10) -> dict[str, float]:
    """Seconds of 5 folds x 3 seeds, building and compiling included, and the peak of memory in MB."""
    data, spent = recorded(), {"building": 0.0}
    how = Settings(epochs=epochs, patience=0, restore_best=False)
    spent["memory before"] = peak_memory()

    def build(seed: int) -> keras.Model:
        start = time.perf_counter()
        model = network(seed, unroll=way == "best fit")
        spent["building"] += time.perf_counter() - start
        return model

    jobs = []
    for known, _ in forecasting.folds(data.train_full, 5):
        learn, watch = training.inner_tail(data.train_full.take(known))
        jobs += [Job(build, learn, watch, how, seed) for seed in range(3)]
    start = time.perf_counter()
    if way == "engine":
        training.train(jobs)
    for each in jobs if way != "engine" else []:
        model = training.compile(each.build(each.seed))
        model.compile("adam", "mse", steps_per_execution=1 if way == "fit" else 256, jit_compile=False)
        model.fit(
            each.train.x.astype("float32"),
            each.train.y.astype("float32"),
            validation_data=(each.validation.x.astype("float32"), each.validation.y.astype("float32")),
            validation_batch_size=4096,
            epochs=epochs,
            batch_size=BATCH,
            verbose=0,
        )
    spent["whole"] = time.perf_counter() - start
    spent["steps"] = sum(steps(each.train) for each in jobs) * epochs
    spent["memory"] = peak_memory()
    if way == "engine":  # where the time goes: once more with everything compiled, and without validation too
        spent["compiled already"] = timed(lambda: training.train(jobs))
        spent["and no validation"] = timed(
            lambda: training.train([replace(each, validation=None) for each in jobs])
        )
    return spent


def peak_memory() -> float:
    """The most memory that this process has had, in MB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def growth(data: forecasting.Prepared) -> list[dict[str, Any]]:
    """Seconds of an epoch over the number of windows (one model), and over the number of models in a stack."""
    rows = []
    for windows, count in [(500, 1), (1000, 1), (2000, 1), (4000, 1), (8000, 1)] + [
        (1000, k) for k in (2, 5, 10, 20)
    ]:
        index = np.resize(np.arange(len(data.train)), windows)
        work = by_stack(data.train.take(index), count)
        work()
        each = steps(data.train.take(index)) * count / 1e3
        rows.append(
            {"windows": windows, "models": count, "seconds": round(min(work() for _ in range(5)) * each, 4)}
        )
    return rows


def copied(parts: list[forecasting.Windows]) -> list[tuple[np.ndarray, np.ndarray]]:
    """The plain copy that preparation is compared with."""
    return [(np.array(part.x), np.array(part.y)) for part in parts]


def preparing() -> list[dict[str, Any]]:
    """Preparation beside a plain copy of its result: windows a second, and memory beyond the input."""
    frame, rows = select(read("recorded"), "system"), []
    for times in (10, 50, 200):
        long = frame.loc[np.resize(np.arange(len(frame)), len(frame) * times)].reset_index(drop=True)
        start = frame["timestamp"].iloc[0]
        long["timestamp"] = start + np.arange(len(long)) * (frame["timestamp"].iloc[1] - start)
        work = functools.partial(forecasting.prepare, long, features=FEATURES, target=FEATURES[-1])
        whole = work()
        parts = [whole.train, whole.validation, whole.test]
        best = min(timed(work) for _ in range(3))
        copy = min(timed(functools.partial(copied, parts)) for _ in range(3))
        tracemalloc.start()
        work()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        count = sum(len(part) for part in parts)
        size = long[FEATURES].to_numpy().nbytes
        rows.append(
            {
                "windows": count,
                "per_second": count / best,
                "to_copy": best / copy,
                "memory_to_input": peak / size,
            }
        )
    return rows


def main(out: Path, build: Path) -> None:
    """Measure everything; write the two tables into `out`."""
    data = recorded()
    rows = compare(data.train, build)
    write(out / "engine_benchmark.csv", rows)
    floor = arithmetic(data.train)
    print(f"arithmetic alone on one core: {floor:.3f} ms a step")
    for row in rows:
        print(
            f"{row['way']:55} {row['models']:3} {row['ms_per_step']:8.3f} ms {row['times_faster']:6.2f} times as fast as fit ({row['lowest']:.2f} to {row['highest']:.2f})"
        )
    write(out / "engine_growth.csv", growth(data))
    for way in ("fit", "best fit", "engine"):
        command = [sys.executable, __file__, "whole-job", way]
        answer = json.loads(
            subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
        )
        print(
            f"whole job by {way}:",
            ", ".join(f"{name} {value:.2f}" for name, value in answer.items()),
            flush=True,
        )
    print("seconds of `make book` by notebook:", seconds_by_notebook(build))
    for row in preparing():
        print("preparation:", ", ".join(f"{name} {value:.3g}" for name, value in row.items()))


def seconds_by_notebook(build: Path) -> dict[str, float]:
    """What the last `make book` noted for each notebook."""
    copies = sorted((build / "executed").glob("*.ipynb"))
    stamps = {copy.stem: json.loads(copy.read_text(encoding="utf-8"))["metadata"] for copy in copies}
    return {name: stamp[STAMP].get("seconds", 0.0) for name, stamp in stamps.items()}


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write a table as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["whole-job"]:
        print(json.dumps(whole_job(sys.argv[2])))
    else:
        main(files.root() / "data", files.root() / "_build")
