"""Programs of torch.export as ONNX files, and ONNX files as modules that onnxruntime runs.

The optional packages are imported where they are used.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from rlstitch.errors import InvalidInputError, needs_extra

INPUTS, OUTPUTS = ["observations"], ["action_parameters", "values"]


def require_onnx() -> None:
    """Raise `MissingExtraError` where a package of the extra `onnx` is not installed."""
    with needs_extra("the export format onnx", "onnx"):
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401  (torch's export takes all three)


def to_onnx(program: torch.export.ExportedProgram, batch: torch.export.Dim) -> bytes:
    """Return a program as the content of an ONNX file, for batches of any size.

    Args:
        program: of `Policy`; its input is called `observations`, its outputs `action_parameters` and `values`.
        batch: the dimension of the batch.

    Raises:
        InvalidInputError: where ONNX has no operator for a part of the program.
    """
    from torch.onnx.errors import OnnxExporterError

    with _quiet_exporter():
        try:
            converted: Any = torch.onnx.export(
                program, dynamo=True, verbose=False, input_names=INPUTS, output_names=OUTPUTS,
                dynamic_shapes=({0: batch},),
            )  # fmt: skip
        except (OnnxExporterError, RuntimeError):  # its message is pages long
            raise InvalidInputError(
                "ONNX has no operator for a part of this agent, such as the similarities l1, lp, linf and basis; use "
                "torch-export or safetensors"
            ) from None
    model = converted.model_proto
    for node in [*model.graph.node, *(node for function in model.functions for node in function.node)]:
        del node.metadata_props[:]  # hold paths of this machine
    return model.SerializeToString()


class OnnxPolicy(nn.Module):
    """A policy in an ONNX file, run by onnxruntime on the CPU: observations -> `(action parameters, values)`."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Return action parameters and values."""
        parameters, values = self._session.run(OUTPUTS, {INPUTS[0]: observations.numpy()})
        return torch.from_numpy(parameters), torch.from_numpy(values)


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it reports that torchvision, which nothing here needs, is not installed
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
