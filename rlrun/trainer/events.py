"""TensorBoard events of a session, written through the file layer.

One file a session, which begins by telling TensorBoard to forget what earlier files say of the
steps from here on (`purge_step`), so that every step stands once.
"""

import io
from collections.abc import Mapping

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from rlrun.runs import files
from rlrun.runs.layout import RunDir

_FILE_VERSION = "brain.Event:2"


class EventFile:
    """The event file of one session."""

    def __init__(self, run: RunDir, session: int, *, first_step: int, wall_time: float) -> None:
        path = run.event_file(session)
        files.ensure_dir(run.tensorboard)
        if path.exists():  # of a session that died before it had a number of its own
            files.unlink(path)
        self._file = files.Appender(path)
        self._write(Event(wall_time=wall_time, file_version=_FILE_VERSION))
        begin = SessionLog(status=SessionLog.START)
        self._write(Event(wall_time=wall_time, step=first_step, session_log=begin))

    def add(self, step: int, scalars: Mapping[str, float], *, wall_time: float) -> None:
        """Append the scalars of a step."""
        values = [
            Summary.Value(tag=tag, simple_value=value) for tag, value in sorted(scalars.items())
        ]
        self._write(Event(wall_time=wall_time, step=step, summary=Summary(value=values)))

    def _write(self, event: Event) -> None:
        buffer = io.BytesIO()
        RecordWriter(buffer).write(event.SerializeToString())
        self._file.append(buffer.getvalue(), sync=False)

    def sync(self) -> None:
        """Make what was appended durable."""
        self._file.sync()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
