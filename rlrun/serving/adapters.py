"""The adapters of one model in this process: loaded side by side, one of them active at a time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from peft import PeftConfig, PeftModel

from rlrun.engines.serve import Refused


class Adapters:
    """A model, and what may be switched on in it."""

    def __init__(self, model: Any, reload: Callable[[], Any]) -> None:
        """Start with a model of transformers' own, which `reload` can return afresh."""
        self._model = model  # peft's around it while there is an adapter
        self._reload = reload
        self._keys: dict[str, str] = {}  # by name: what peft calls it, which may hold no dots
        self._num_loaded = 0
        self._active: str | None = None

    def load(self, name: str, folder: Path) -> None:
        """Load a PEFT folder; Refused, with nothing changed, if it does not fit the model."""
        self._num_loaded += 1
        key = f"adapter_{self._num_loaded}"
        try:
            if not isinstance(self._model, PeftModel):
                config = PeftConfig.from_pretrained(folder)
                self._model = PeftModel(self._model, config, key)
            self._model.load_adapter(folder, key, torch_device=str(self._model.device))
        except (ValueError, RuntimeError, OSError, KeyError, TypeError) as error:
            self._drop(key)
            raise Refused(f"peft does not take it ({error})") from error
        self._keys[name] = key
        self._model.eval()
        self._switch()

    def unload(self, name: str) -> None:
        """Forget an adapter."""
        key = self._keys.pop(self.known(name))
        if self._active == name:
            self._active = None
        self._drop(key)
        self._switch()

    def known(self, name: str) -> str:
        """Return the name; Refused if there is no such adapter."""
        if name not in self._keys:
            raise Refused(f"there is no adapter named {name!r}")
        return name

    def activate(self, name: str | None) -> Any:
        """Return the model with this adapter alone, None for none of them."""
        if name != self._active:
            self._active = name
            self._switch()
        return self._model

    def _drop(self, key: str) -> None:
        """Take an adapter, or what there is of it, out of the model."""
        if self._keys:
            # peft would turn to another adapter of its own choice, and warn.
            self._model.set_adapter(next(iter(self._keys.values())), inference_mode=True)
            if key in self._model.peft_config:
                self._model.delete_adapter(key)
        elif isinstance(self._model, PeftModel):
            self._model = self._model.unload()
        else:  # it may be half in
            self._model = self._reload()

    def _switch(self) -> None:
        if not isinstance(self._model, PeftModel):
            return
        if self._active is None:
            self._model.base_model.disable_adapter_layers()
        else:
            self._model.base_model.enable_adapter_layers()
            self._model.set_adapter(self._keys[self._active], inference_mode=True)
