"""What follows when a running attempt is lost, whoever found out: the clock, or its worker."""

import random

from jobstore.retry import Verdict, judge_loss
from jobstore.store.claim import Held
from jobstore.store.verdict import Tried
from jobstore.store.work import Work


def count_loss(
    work: Work, held: Held, tried: Tried, *, max_lost: int, message: str, rng: random.Random
) -> Verdict:
    """The job is known to have been lost once more; what that means for it."""
    (losses,) = work.conn.execute(
        "UPDATE job SET losses = losses + 1 WHERE seq = ? RETURNING losses", (held.seq,)
    ).fetchone()
    return judge_loss(
        tried.spec,
        tries=tried.tries,
        losses=losses,
        max_lost=max_lost,
        since_first_try_s=tried.elapsed_s,
        cancelled=tried.cancelled,
        is_stopped=tried.is_stopped,
        message=message,
        rng=rng,
    )
