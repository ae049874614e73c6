"""The kernel that notebooks run in when a program runs them."""

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import psutil
from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from traitlets import Dict, Unicode, default
from traitlets.config import Config

from vdslib import _temporary


class _ThisPython(KernelSpecManager):
    """The kernel of every notebook is the Python that runs this, whatever kernels a user has installed."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())


class Kernel(AsyncKernelManager):
    """A kernel that is asked to end once its notebook has, without an interrupt before.

    Jupyter interrupts each kernel that it shuts down. A kernel that has just answered the last question is still busy
    with it for a moment, and an interrupt in that moment makes it write an error although nothing went wrong. A
    notebook that is given up while a cell runs is interrupted as usual, so that the cell can clean up.
    """

    # variables that the kernel gets beside those of the process that starts it
    environment = Dict().tag(config=True)
    # file for what the kernel itself says, such as a complaint when it is ended: what cells print comes by a socket
    stderr = Unicode().tag(config=True)

    @default("kernel_spec_manager")
    def _specifications(self) -> KernelSpecManager:
        return _ThisPython()

    async def _async_pre_start_kernel(self, **options: Any) -> tuple[list[str], dict[str, Any]]:
        options["env"] = {**(options.get("env") or os.environ), **self.environment}
        return await super()._async_pre_start_kernel(**options)

    async def _async_launch_kernel(self, kernel_cmd: list[str], **kw: Any) -> None:
        with self._said() as file:
            await super()._async_launch_kernel(kernel_cmd, **kw, stderr=file)

    def _said(self) -> AbstractContextManager[BinaryIO | None]:
        return Path(self.stderr).open("ab") if self.stderr else nullcontext()

    async def _async_interrupt_kernel(self) -> None:
        # the client cleans up while its error, a Ctrl-C say, is on its way
        given_up = sys.exc_info()[0] is not None
        if given_up or not self.shutting_down:
            await super()._async_interrupt_kernel()


@contextmanager
def folder() -> Iterator[Path]:
    """A folder for a kernel's sockets, short enough for their paths; it and the kernel are gone afterwards."""
    temporary = _temporary.short_folder()
    _temporary.tidy(temporary, "vds-")
    made = temporary / _temporary.name("vds-kernel")
    made.mkdir(mode=0o700)
    try:
        yield made
    finally:
        # a kernel that was interrupted while it started has nobody else to end it
        _temporary.end([child for child in psutil.Process().children() if _belongs(child, made)])
        shutil.rmtree(made, ignore_errors=True)


def _belongs(process: psutil.Process, made: Path) -> bool:
    try:
        return any(str(made) in word for word in process.cmdline())
    except psutil.Error:
        return False


def settings(made: Path, environment: Mapping[str, str]) -> Config:
    """Settings of a kernel that talks over sockets in a folder, with variables of its own."""
    manager = {
        "transport": "ipc",
        "connection_file": str(made / "kernel.json"),
        # half of it is for Python's own exit handlers; TensorFlow would take longer to free its memory
        "shutdown_wait_time": 2.0,
    }
    own = {"environment": dict(environment), "stderr": str(made / "stderr.txt")}
    return Config({"KernelManager": manager, "Kernel": own})


def last_words(made: Path) -> str:
    """The end of what a kernel itself, not its cells, wrote on stderr; empty where it wrote nothing."""
    said = made / "stderr.txt"
    text = said.read_text(encoding="utf-8", errors="replace") if said.is_file() else ""
    return "".join(f"\n{line}" for line in text.strip().splitlines()[-20:])
