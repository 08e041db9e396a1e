"""The state of a rate bucket where one process keeps it: `reference.Level` in a shape that the usual call can use in one look.

It knows the arithmetic's words and does none of its own beyond them: whatever is not usual goes through a Level and back.
"""

from proxy.limits.reference import BANDS, Bucket, Level, fresh, refill


class Rate:
    """`owed` is what was taken and has not come back, in 1/q tokens, counted from the clock's zero: what is missing at `now` is
    `owed - now * p`, or nothing. So a refill writes nothing down.

    Where `floor <= missing < brink`, who takes something leaves no new mark in the tide: only the number of the last one becomes
    its own (`seq`). `floor` is 0 only where the bucket was full when some of that mark's calls took. `cost` is what the call that
    is looked at takes, one unless its store says otherwise, and `rest` what a full bucket has after it.
    """

    __slots__ = ("brink", "bucket", "cost", "floor", "full", "owed", "p", "q", "rest", "seq", "tide")

    def __init__(self, bucket: Bucket) -> None:
        """Full, and never asked for."""
        self.bucket = bucket
        self.owed = 0
        self.seq = 0
        self.tide: list[list[int]] = []
        self._bound()

    def bind(self, bucket: Bucket, now: int) -> bool:
        """From now on it counts for `bucket`, of the same name; whether that has other figures."""
        if (bucket.p, bucket.q, bucket.full) == (self.p, self.q, self.full):
            self.bucket = bucket
            return False
        level = self.level(now) if self.tide else fresh(bucket, now)  # nobody took anything yet
        refill(bucket, level, now)
        self.bucket = bucket
        self.keep(level, now)
        return True

    def level(self, now: int) -> Level:
        """As the reference has it. What is done with it counts once it is kept."""
        missing = self.owed - now * self.p
        if self.tide:
            self.tide[-1][0] = self.seq
        return Level(self.full - (missing if missing > 0 else 0), now, self.q, self.seq, self.tide)

    def keep(self, level: Level, now: int) -> None:
        """What `level` says."""
        self.owed = self.bucket.full - level.level + now * self.bucket.p
        self.seq = level.seq
        self.tide = level.tide
        self._bound()

    def _bound(self) -> None:
        bucket = self.bucket
        self.p, self.q, self.full = bucket.p, bucket.q, bucket.full
        self.cost, self.rest = self.q, self.full - self.q
        if not self.tide:
            self.floor, self.brink = 1, 0  # the first mark is still to be made
            return
        low = self.full - self.tide[-1][1]
        self.floor = low if len(self.tide) == 1 else low + 1  # it may meet the mark before it
        self.brink = low + self.full // BANDS
