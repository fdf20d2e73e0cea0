"""The whole flow of training, on one screen."""

from rlrun.engines.protocol import Interrupted
from rlrun.runs.ledger import Outcome
from rlrun.trainer.session import Session


def train(session: Session) -> Outcome:
    """Train until the session's end, save, and return why it ended.

    Prompts, rollouts, rewards and advantages make a batch; a batch serves one or more steps; a
    step is reported and, when due, saved.  What is journaled already is replayed by this same loop.
    """
    while (outcome := session.why_end()) is None:
        try:
            batch = session.next_batch()
        except Interrupted:
            outcome = session.stopper.reason() or "stopped"
            break
        while session.progress.step < batch.record.last_step:
            session.update(batch)
            session.save_if_due(batch)
            if session.why_end() is not None:
                break
    session.save_last()
    return outcome
