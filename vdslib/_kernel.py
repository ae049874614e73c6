"""The kernel that notebooks run in when a program runs them."""

from __future__ import annotations

import os
import sys
from typing import Any

from jupyter_client.manager import AsyncKernelManager
from traitlets import Dict


class Kernel(AsyncKernelManager):
    """A kernel that is asked to end once its notebook has, without an interrupt before.

    Jupyter interrupts each kernel that it shuts down. A kernel that has just answered the last question is still busy
    with it for a moment, and an interrupt in that moment makes it write an error although nothing went wrong. A
    notebook that is given up while a cell runs is interrupted as usual, so that the cell can clean up.
    """

    # variables that the kernel gets beside those of the process that starts it
    environment = Dict().tag(config=True)

    async def _async_pre_start_kernel(self, **options: Any) -> tuple[list[str], dict[str, Any]]:
        options["env"] = {**(options.get("env") or os.environ), **self.environment}
        return await super()._async_pre_start_kernel(**options)

    async def _async_interrupt_kernel(self) -> None:
        # the client cleans up while its error, a Ctrl-C say, is on its way
        given_up = sys.exc_info()[0] is not None
        if given_up or not self.shutting_down:
            await super()._async_interrupt_kernel()
