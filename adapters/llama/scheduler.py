"""Continuous batching: which rows go into the next decode, and what becomes of their logits.

Owns waiting, prefilling and running calls and the step. Refuses to know frames, templates and processes; its owner is
the one engine thread. Invariants: running calls come before prompts in every step; rows never exceed `n_batch` nor
outputs `n_seq`; a cancelled call holds nothing after the next step; every call ends with exactly one `done` or error.
"""

import time
from bisect import insort
from collections.abc import Callable

from adapters.llama import spec
from adapters.llama.backend_sampling import BackendSampling
from adapters.llama.batching import TURN, Parts, fill, parts_of
from adapters.llama.fairness import FairQueue
from adapters.llama.ffi import Context, Floats, Vocab
from adapters.llama.frames import Error
from adapters.llama.job import Choice, Job, Prepared
from adapters.llama.kv import KvCache
from adapters.llama.output import Output
from adapters.llama.pace import Pace
from adapters.llama.prefilter import log_probabilities
from adapters.llama.slots import common_prefix
from adapters.llama.spec import Delta, Setup, TokenLogprob
from adapters.llama.turns import Turns, pass_cells
from adapters.llama.vision.looking import Eye

FOLLOW_MIN = 64  # shortest common prefix worth waiting for another call's prompt
GROW = 256  # tokens by which a running call's reservation grows


class EngineBroken(Exception):
    """llama.cpp reported a state from which only a new process helps."""


class Scheduler:
    """`submit` and `cancel`, then `step` until it says that there is nothing to do."""

    def __init__(self, context: Context, vocab: Vocab, kv: KvCache, setup: Setup, out: Output) -> None:
        self.kv = kv
        self.out = out
        self.steps = self.decoded = self.prefilled = self.reused = 0
        self.device = BackendSampling(context)
        # Where sequences have caches of their own, llama.cpp would compute a step's prompts behind its decoding rows, and
        # those over a range as long as the longest prompt's: such a step gains nothing, so it does one or the other.
        self._apart = not context.unified
        self._read = 0  # tokens of prompts since the last step that decoded
        self._turns = Turns(pass_cells(setup, context.model.size, context.model.cell))
        self.pace = Pace(min(setup.chunk, context.n_batch), setup.gap_factor, apart=self._apart)
        self._context = context
        self._vocab = vocab
        self._setup = setup
        self._queue: FairQueue[Job] = FairQueue()
        self._jobs: dict[int, Job] = {}
        self._prefilling: list[Job] = []
        self._running: list[Choice] = []
        self._owner: dict[Choice, Job] = {}
        self._following: list[Job] = []
        self._blocked = False  # the next call does not fit, and nothing has changed since
        self.eye: Eye | None = None  # where the model has a projector
        self.clock: Callable[[], float] = time.monotonic

    # -- coming and going -----------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        return bool(self._jobs)

    @property
    def waiting(self) -> int:
        return len(self._queue) + len(self._following)

    @property
    def running(self) -> int:
        return len(self._running) + len(self._prefilling)

    def submit(self, call: Prepared) -> None:
        job = Job(call, reserve=max(1, min(call.limit, self._setup.reserve)), queued_at=self.clock())
        if not self.kv.fits_ever(len(call.prompt), call.n, job.reserve):
            self._refuse(job, spec.CONTEXT, "the prompt and its choices do not fit the memory of the engine")
            return
        self._jobs[call.id] = job
        self._queue.push(job)
        self._blocked = False

    def cancel(self, call_id: int) -> None:
        """Forgets a call in whatever state; unknown ids (already done) are ignored."""
        job = self._jobs.get(call_id)
        if job is not None:
            self._drop(job)

    def fail_all(self, code: str, message: str) -> None:
        for job in list(self._jobs.values()):
            self._fail(job, code, message)

    def _refuse(self, job: Job, code: str, message: str, retry_after_s: float | None = None) -> None:
        self.out.errors.append(Error(job.id, code, message, retry_after_s=retry_after_s))

    def _fail(self, job: Job, code: str, message: str, *, keep: bool = True) -> None:
        self._drop(job, keep=keep)
        self._refuse(job, code, message, 1.0 if code in (spec.OVERLOADED, spec.TIMEOUT) else None)

    def _drop(self, job: Job, *, keep: bool = True) -> None:
        """Takes a call out of every list and gives back what it holds."""
        self._jobs.pop(job.id, None)
        if job.lease is None:
            if not self._queue.remove(job) and job in self._following:
                self._following.remove(job)
        else:
            if job in self._prefilling:
                self._prefilling.remove(job)
            for choice in job.choices:
                if not choice.done:
                    self._retire(choice, keep=keep)
            self._finish_job(job)
        self._unfollow(job)

    def _retire(self, choice: Choice, *, keep: bool = True) -> None:
        choice.done = True
        if choice in self._owner:
            del self._owner[choice]
            self._running.remove(choice)
        self.device.end(choice.slot.seq)
        self.kv.release_slot(choice.slot, keep=keep)

    def _finish_job(self, job: Job) -> None:
        assert job.lease is not None
        job.close()
        self.kv.settle(job.lease)
        self._queue.settle(job, job.generated)
        self._blocked = False

    # -- admission ------------------------------------------------------------------------------------------------

    def _expire(self, now: float) -> None:
        for job in [j for j in self._jobs.values() if j.timed and j.late(now)]:
            where = "in the queue" if job.lease is None else "while running"
            self._fail(job, spec.TIMEOUT, f"the call's time was up {where}")

    def _admit(self, now: float) -> None:
        while not self._blocked and (job := self._queue.peek(now)) is not None:
            leader, common = self._leader(job)
            if leader is not None:
                self._queue.remove(job)
                job.following, job.following_until = leader, common
                self._following.append(job)
                continue
            lease = self.kv.admit(job.call.prompt, job.call.n, job.reserve, job.tenant)
            if lease is None:
                self._blocked = True
                return
            self._queue.take(job)
            job.begin(lease, self._vocab.eog, now)
            self.device.begin(job)
            self.reused += job.reused
            self._prefilling.append(job)
            self.out.admitted.append(job.id)

    def _leader(self, job: Job) -> tuple[Job | None, int]:
        """A call whose prompt is being read now and begins as this one does, further than anything at hand."""
        if not self._prefilling or job.following is not None:
            return None, 0
        head = job.call.prompt[:-1]
        best: Job | None = None
        length = self.kv.best_prefix(job.call.prompt, job.tenant) + FOLLOW_MIN
        for other in self._prefilling:
            if self._setup.isolate_cache and other.tenant != job.tenant:
                continue
            common = common_prefix(head, other.call.prompt)
            if common >= length and common > other.cursor:
                best, length = other, common
        return best, length

    def _unfollow(self, leader: Job) -> None:
        for job in [j for j in reversed(self._following) if j.following is leader]:
            if leader.id in self._jobs and leader.cursor < min(job.following_until, len(leader.call.prompt)):
                continue
            self._following.remove(job)
            self._queue.push(job, front=True)
            self._blocked = False

    # -- the step -------------------------------------------------------------------------------------------------

    def step(self) -> bool:
        """One decode; False when there was nothing to decode."""
        now = self.clock()
        self._expire(now)
        self._admit(now)
        looked = self.eye is not None and self._look(self.eye)
        budget = self._budget()
        while True:
            decoding, parts = self._compose(budget)
            rows = fill(self._context.batch, decoding, parts)
            if not rows:
                return looked
            self.kv.make_room(rows)
            started = time.perf_counter()
            code = self._context.decode(rows)
            if code == 0:
                break
            if code == 1:
                if self._relieve(parts):
                    budget = max(sum(count for _, count in parts) // 2, 1)
                continue
            self._broken(code, decoding, parts)
            return True
        outputs = len(decoding) + sum(1 for job, count in parts if job.cursor + count == len(job.call.prompt))
        logits = self._context.logits(outputs) if outputs else None
        self.pace.observe(len(decoding), rows - len(decoding), time.perf_counter() - started, len(self._prefilling))
        self._account(decoding, parts, rows)
        if logits is not None:
            self._sample(decoding, parts, logits)
        return True

    def _look(self, eye: Eye) -> bool:
        """Reads a picture, if a call has come to one; whether it has."""
        job, code = eye.look(self._prefilling)
        if code == 1:
            self._relieve([])
        elif job is not None and code:
            self._broken(code, [], [(job, 0)])
        return job is not None

    def _budget(self) -> int:
        """Prompt tokens that the next step may carry."""
        if not self._running or not self._prefilling:
            return self._context.n_batch
        return self.pace.chunk(*self._load())

    def _load(self) -> tuple[int, int, int]:
        """Calls that generate, calls that have prompts to be read, and those prompts' tokens."""
        return len(self._running), len(self._prefilling), sum(job.ahead for job in self._prefilling)

    def _compose(self, budget: int) -> tuple[list[Choice], Parts]:
        """(choices that decode, (call, prompt tokens) that prefill), in batch order; where they are apart, one of them."""
        turn = self._turns.now(self._running)
        decoding = [choice for choice in turn if choice.said <= choice.granted or self._grow(choice)]
        if not decoding and not self._prefilling and self._running:
            self._cut_one()
            return self._compose(budget)
        parts: Parts = []
        if not (self._apart and decoding and self._must_decode()):
            parts = parts_of(self._prefilling, min(budget, self._context.n_batch - len(decoding)))
        if self._apart and parts:
            decoding = []
        return decoding, parts

    def _must_decode(self) -> bool:
        """Where steps do one or the other: some have had their turn and others not, or prompts were not urgently read."""
        if self._turns.due or not self._read:
            return self._turns.due
        return self._read >= self._context.n_batch or not self.pace.hurries(*self._load())

    def _grow(self, choice: Choice) -> bool:
        """More room for a call that outlives its reservation; False: it pauses for this step."""
        lease = self._owner[choice].lease
        assert lease is not None
        more = min(GROW, self._owner[choice].call.limit - choice.granted)
        if more > 0 and not self.kv.grow(lease, more):
            return False
        choice.granted += max(more, 1)
        return True

    def _cut_one(self) -> None:
        """Everybody waits for memory: the latest call ends as if its length were reached, and the others go on."""
        choice = max(self._running, key=lambda running: self._owner[running].admitted_at)
        job = self._owner[choice]
        events = choice.splitter.finish()
        self._end(job, choice, Delta(choice.index, events, 0, None, "length"))

    def _relieve(self, parts: Parts) -> bool:
        """llama.cpp found no room: evict, or (True) take fewer prompt tokens, or give up the newest call."""
        if self.kv.evict():
            return False
        if parts and sum(count for _, count in parts) > 1:
            return True
        newest = max((j for j in self._jobs.values() if j.lease is not None), key=lambda j: j.admitted_at)
        self._fail(newest, spec.OVERLOADED, "the engine's memory is full")
        return False

    def _broken(self, code: int, decoding: list[Choice], parts: Parts) -> None:
        """A decode that failed other than for room. -1 left the memory as it was; the rest is beyond repair."""
        if code < -1 or code > 2:
            raise EngineBroken(f"llama_decode returned {code}")
        jobs = {id(job): job for job in [*(self._owner[c] for c in decoding), *(job for job, _ in parts)]}
        for job in jobs.values():
            self._fail(job, spec.SERVER, "the engine could not process the call", keep=False)

    def _account(self, decoding: list[Choice], parts: Parts, rows: int) -> None:
        self.steps += 1
        if decoding:
            self._turns.took(self._running, decoding)
        self._read = 0 if decoding else self._read + rows
        self.decoded += len(decoding)
        self.prefilled += rows - len(decoding)
        for choice in decoding:
            self.kv.push(self._owner[choice].lease, choice.slot, choice.pending)  # type: ignore[arg-type]
        for job, count in parts:
            assert job.lease is not None
            self.kv.append(job.lease, job.choices[0].slot, job.call.prompt[job.cursor : job.cursor + count])
            job.cursor += count
            job.turn += count
            if job.turn >= TURN:  # the others first
                job.turn = 0
                self._prefilling.remove(job)
                self._prefilling.append(job)
            self._unfollow(job)

    # -- tokens ---------------------------------------------------------------------------------------------------

    def _sample(self, decoding: list[Choice], parts: Parts, logits: Floats) -> None:
        k = end = len(decoding)
        plain = [choice.plain and not choice.forced for choice in decoding]
        argmax = logits[:k].argmax(axis=1).tolist() if plain.count(True) > 1 else None
        for row, choice in enumerate(decoding):
            job = self._owner[choice]
            if argmax is not None and plain[row]:
                self._take(job, choice, argmax[row], None)
            else:
                self._choose(job, choice, logits[row], row)
        for job, count in parts:
            end += count
            if job.prefilled:
                self._prefilling.remove(job)
                job.first_at = self.clock()
                assert job.lease is not None
                self.kv.fork(job.lease)
                for choice in job.choices:
                    insort(self._running, choice, key=_seq)
                    self._owner[choice] = job
                for choice in list(job.choices):
                    self._choose(job, choice, logits[k], end - 1)
                k += 1

    def _choose(self, job: Job, choice: Choice, row: Floats, at: int) -> None:
        """`row` are its logits (several choices may share them), `at` its place in the batch."""
        chooser, sampling = choice.chooser, job.call.sampling
        if choice.on_device:
            self._take(job, choice, self.device.sampled(choice.slot.seq, at), None)
            return
        raw = row
        if chooser.edits:
            if len(job.choices) > 1 or sampling.logprobs:
                row = row.copy()
            chooser.edit(row)
        if choice.forced:
            token = choice.forced.popleft()
        else:
            token = chooser.choose(row, choice.splitter.in_reasoning)
        logprob = None
        if sampling.logprobs and token >= 0:
            logprob = self._logprob(raw, token, sampling.top_logprobs)
        self._take(job, choice, token, logprob)

    def _logprob(self, row: Floats, token: int, top: int) -> TokenLogprob:
        value, best = log_probabilities(row, token, top)
        pieces = self._vocab.pieces
        return TokenLogprob(pieces[token], value, [(pieces[t], p) for t, p in best])

    def _take(self, job: Job, choice: Choice, token: int, logprob: TokenLogprob | None) -> None:
        """A token is chosen: its text goes out, and the choice goes on or ends."""
        call, splitter = job.call, choice.splitter
        choice.said += 1
        finish = None
        if token < 0 or token in self._vocab.eog_set or token in call.sampling.stop_token_ids:
            events, logprob, finish = splitter.finish(), None, "stop"
        else:
            choice.chooser.accept(token, splitter.in_reasoning)
            events = splitter.feed(self._vocab.pieces[token])
            if splitter.done:
                finish = "stop"
            elif choice.said >= call.limit:
                events, finish = events + splitter.finish(), "length"
            elif splitter.over_budget and not choice.forced:
                choice.forced.extend(call.close_tokens)
        logprobs = None if logprob is None else [logprob]
        if finish is None:
            choice.pending = token
            if events or logprobs is not None:
                self.out.deltas.append((job.id, Delta(choice.index, events, 1, logprobs)))
            return
        if finish == "stop" and splitter.calls:
            finish = "tool_calls"
        self._end(job, choice, Delta(choice.index, events, 1, logprobs, finish, splitter.stopped))

    def _end(self, job: Job, choice: Choice, delta: Delta) -> None:
        self.out.deltas.append((job.id, delta))
        self._retire(choice)
        if all(other.done for other in job.choices):
            del self._jobs[job.id]
            self._finish_job(job)
            self.out.done.append((job.id, job.usage(self.clock())))
            self._unfollow(job)


def _seq(choice: Choice) -> int:
    return choice.slot.seq
