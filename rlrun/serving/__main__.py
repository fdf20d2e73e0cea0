"""`python -m rlrun.serving`: the process of the torch engine, or of an export."""

import argparse
import faulthandler
from pathlib import Path

from rlrun.engines import pipes, serve
from rlrun.engines.spec import EngineSpec


def main() -> None:
    """Answer the client at the other end of the pipes.

    torch is imported when the process has its guard: a fork later would lack torch's threads.
    """
    parser = argparse.ArgumentParser(prog="python -m rlrun.serving", description=__doc__)
    parser.add_argument("--export", metavar="FOLDER", type=Path, help="write the model, and end")
    parser.add_argument("--model", help="what to write")
    parser.add_argument("--dtype", default="float32")
    arguments = parser.parse_args()
    faulthandler.enable()
    if arguments.export is None:
        serve.serve(_start)
    else:
        _export(arguments.model, arguments.dtype, arguments.export)


def _start(spec: EngineSpec) -> serve.Backend:
    from rlrun.serving.torch_backend import start

    return start(spec)


def _export(model: str, dtype: str, folder: Path) -> None:
    channel = pipes.open_channel()
    from rlrun.serving.export import export

    export(model, dtype, folder)
    channel.write({"number": 0, "done": True})


if __name__ == "__main__":
    main()
