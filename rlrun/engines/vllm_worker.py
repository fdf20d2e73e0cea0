"""The process of vLLM: started by its path, with an interpreter that need not have rlrun.

Of rlrun's environment nothing gets on the module path: its packages belong to another interpreter.
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path


def _make_rlrun_known() -> None:
    """Let `rlrun` be this file's package; this file's folder itself is no place for modules."""
    sys.path.pop(0)
    package = Path(__file__).resolve().parents[1]
    spec = spec_from_file_location(
        "rlrun", package / "__init__.py", submodule_search_locations=[str(package)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"there is no rlrun in {package}")
    sys.modules["rlrun"] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules["rlrun"])


if __name__ == "__main__":  # vLLM's own processes, if it starts any, import this file too
    _make_rlrun_known()
    from rlrun.engines.serve import serve
    from rlrun.engines.vllm_start import start

    serve(start)
