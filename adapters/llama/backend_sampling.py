"""Sampling where the model runs: which calls can have it, and the samplers of those that do.

Owns llama.cpp's sampler of each sequence, from a call's admission to its end. Refuses to know logits and steps. It pays
on a GPU, where rows of logits would otherwise cross to the host for every token; llama.cpp calls it experimental, so a
trial at the start decides whether this build and model can. Invariants: a call that needs its logits here (grammar,
penalties, bias, bans, log probabilities, dynamic temperature, several choices) never has a sampler there; no sampler
outlives its sequence's call.
"""

from adapters.llama.ffi import Context, SamplerChain
from adapters.llama.job import Job, Prepared
from adapters.llama.spec import Sampling


def can(call: Prepared) -> bool:
    """Whether nothing but a temperature and truncations decides."""
    s = call.sampling
    edits = s.logit_bias or s.ignore_eos or s.min_tokens or s.frequency_penalty or s.presence_penalty
    dynamic = s.min_temp is not None or s.max_temp is not None
    return (
        call.n == 1
        and call.grammar is None
        and not (edits or dynamic or s.logprobs)
        and s.repetition_penalty == 1.0
        and not call.close_tokens  # a bound on reasoning puts tokens of its own in
    )


class BackendSampling:
    """`begin` an admitted call, ask `sampled` for rows of its sequence, `end` it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._chains: dict[int, SamplerChain] = {}
        self.works = False

    def try_out(self, token: int) -> bool:
        """Decodes one token with every sampler at work; whether a token came back. The memory is as before."""
        context = self._context
        chain = _chain(Sampling(temperature=0.8, top_k=40, top_p=0.9, min_p=0.05), seed=1)
        try:
            if context.attach(0, chain):
                batch = context.batch
                batch.token[0], batch.pos[0], batch.seq[0], batch.logits[0] = token, 0, 0, 1
                self.works = context.decode(1) == 0 and context.sampled(0) >= 0
        finally:
            context.attach(0, None)
            context.seq_rm(0)
            chain.close()
        return self.works

    def begin(self, job: Job) -> None:
        """An admitted call gets its sampler, if it can have one."""
        if not self.works or not can(job.call):
            return
        seq = job.choices[0].slot.seq
        chain = _chain(job.call.sampling, job.call.seed & 0xFFFFFFFF)
        if self._context.attach(seq, chain):
            self._chains[seq] = chain
            job.choices[0].on_device, job.choices[0].plain = True, False
        else:
            chain.close()

    def sampled(self, seq: int, row: int) -> int:
        """The token for a row of the last batch. RuntimeError when there is none, and the row's logits stayed behind."""
        token = self._context.sampled(row)
        if token < 0:
            raise RuntimeError("the backend did not sample a token")
        self._chains[seq].accept(token)
        return token

    def end(self, seq: int) -> None:
        """The sequence's call is over, however it ended."""
        chain = self._chains.pop(seq, None)
        if chain is not None:
            self._context.attach(seq, None)
            chain.close()

    def close(self) -> None:
        for seq in list(self._chains):
            self.end(seq)


def _chain(sampling: Sampling, seed: int) -> SamplerChain:
    temperature = 0.0 if sampling.temperature < 1e-4 else sampling.temperature
    return SamplerChain(
        temperature=temperature, top_k=sampling.top_k, top_p=sampling.top_p, min_p=sampling.min_p, seed=seed
    )
