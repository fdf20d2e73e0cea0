"""Whether an engine computes a row the same way wherever it sits: looked at, not assumed.

Which kernels a library picks depends on the processor and on shapes, so what holds on one machine
need not hold on another.
"""

from collections.abc import Callable
from typing import Any

import torch


def treats_rows_alike(model: Any, compute: Callable[[], None]) -> bool:
    """Return whether every layer gave equal rows for equal rows while `compute` ran.

    `compute` runs the model on batches whose rows are all the same.  Each layer is looked at, since
    an adapter that is still zero hides what its layers do.
    """
    odd: list[str] = []

    def look(layer: torch.nn.Module, _inputs: Any, output: Any) -> None:
        is_batch = isinstance(output, torch.Tensor) and output.dim() > 1
        if is_batch and not torch.equal(output, output[:1].expand_as(output)):
            odd.append(type(layer).__name__)

    layers = [layer for layer in model.modules() if not any(layer.children())]
    hooks = [layer.register_forward_hook(look) for layer in layers]
    try:
        compute()
    finally:
        for hook in hooks:
            hook.remove()
    return not odd
