"""Imports, in the fork server, all that a session needs, so that forks find it there.

Two tables that transformers and peft make at their first use are made here too: one of every
architecture's names of weights, and one of what is no layer of an adapter.  They hold no numbers,
and were two thirds of a small session's time.
"""

from types import ModuleType

import peft.tuners.lora.model
import safetensors.torch
import torch
import transformers.models.llama.modeling_llama
import transformers.models.llama.tokenization_llama
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast
from transformers.conversion_mapping import get_checkpoint_conversion_mapping

# Commands are forked too; and the worker imports the others only when it holds its run.
import rlrun.cli.app
import rlrun.trainer.loop
import rlrun.trainer.preparation
import rlrun.trainer.worker


def layer_classes(module: ModuleType) -> list[type]:
    kinds = (kind for kind in vars(module).values() if isinstance(kind, type))
    return [kind for kind in kinds if issubclass(kind, torch.nn.Module)]


rlrun.cli.app.make_app()  # imports every command
get_checkpoint_conversion_mapping("llama")
for classes in (layer_classes(torch.nn), layer_classes(transformers.models.llama.modeling_llama)):
    for one in classes:
        issubclass(one, BaseTunerLayer)

__all__ = ["AutoModelForCausalLM", "AutoTokenizer", "PreTrainedTokenizerFast", "peft",
           "rlrun", "safetensors", "transformers"]  # fmt: skip
