"""Imports, in the fork server, all that a session needs, so that forks find it there."""

import peft.tuners.lora.model
import safetensors.torch
import transformers.models.llama.modeling_llama
import transformers.models.llama.tokenization_llama
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

# The worker imports these only when it holds its run.
import rlrun.trainer.loop
import rlrun.trainer.preparation
import rlrun.trainer.worker

__all__ = ["AutoModelForCausalLM", "AutoTokenizer", "PreTrainedTokenizerFast", "peft",
           "rlrun", "safetensors", "transformers"]  # fmt: skip
