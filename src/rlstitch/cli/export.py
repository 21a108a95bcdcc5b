"""`rlstitch export`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from rlstitch.cli.console import say
from rlstitch.cli.options import EnvironmentOptions


@dataclass(frozen=True, kw_only=True)
class Export(EnvironmentOptions):
    """Write an agent as one file, for PyTorch, onnxruntime or safetensors; or in half precision."""

    agent: Annotated[Positional[str], arg(metavar="AGENT")]
    """Name or folder of the agent."""
    format: Literal["torch-export", "onnx", "safetensors", "half"] = "torch-export"
    """torch-export: a .pt2 program, observations to action parameters and value; onnx: the same as an ONNX file;
    safetensors: weights and card; half: an agent whose weights are rounded to float16."""
    output: Annotated[
        Path | None,
        arg(metavar="FILE", aliases=["-o"], help_behavior_hint="(default: the agent's name, in the working folder)"),
    ] = None
    """Output file; with half the folder of the agent (default: agents/AGENT-half)."""
    input: Literal["uint8", "float32"] = "uint8"
    """Input of the program: uint8 (N, H, W, C), or float32 (N, C, H, W) in [0, 1]."""
    force: bool = False
    """Overwrite an existing file, or an agent."""

    def run(self) -> int:
        """Export, and print the file and its difference from the agent."""
        from rlstitch.api.export_agent import export_agent
        from rlstitch.jobs.progress import ProgressReporter

        with ProgressReporter() as progress:
            outcome = export_agent(
                self.agent,
                env=self.environment(),
                form=self.format,
                output=self.output,
                observations=self.input,
                force=self.force,
                progress=progress,
            )
        say(outcome)
        return 0
