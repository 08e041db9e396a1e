"""What a verification found, for people and for scripts.

Owns the two renderings and the exit code. Judges nothing. Invariant: both renderings tell the same verdicts in the same
order.
"""

from collections import Counter
from dataclasses import asdict, dataclass

import msgspec

from proxy.verify.check import Verdict

_MARKS = {"pass": "ok  ", "fail": "FAIL", "skip": "skip"}


@dataclass(frozen=True, slots=True)
class Report:
    """The verdicts of one server. `seconds` is how long the questions took."""

    url: str
    model: str
    verdicts: list[Verdict]
    seconds: float

    @property
    def failed(self) -> list[Verdict]:
        """What failed, of either severity."""
        return [verdict for verdict in self.verdicts if verdict.outcome == "fail"]

    @property
    def ok(self) -> bool:
        """Whether every promise that must be kept was kept, where it could be judged."""
        return not any(verdict.severity == "must" for verdict in self.failed)

    @property
    def exit_code(self) -> int:
        return 0 if self.ok else 1

    def json(self) -> str:
        """One JSON object: url, model, ok, seconds, counts, and the verdicts."""
        whole = {
            "url": self.url,
            "model": self.model,
            "ok": self.ok,
            "seconds": round(self.seconds, 3),
            "counts": self._counts(),
            "verdicts": [asdict(verdict) for verdict in self.verdicts],
        }
        return msgspec.json.format(msgspec.json.encode(whole), indent=2).decode()

    def text(self) -> str:
        """A table: outcome, id, promise; the evidence below what did not pass."""
        width = max((len(verdict.id) for verdict in self.verdicts), default=0)
        lines = [f"{self.url}  model {self.model}", ""]
        for verdict in self.verdicts:
            mark = "warn" if verdict.outcome == "fail" and verdict.severity == "should" else _MARKS[verdict.outcome]
            lines.append(f"{mark}  {verdict.id:<{width}}  {verdict.promise}")
            if verdict.evidence:
                lines.append(f"{'':6}{'':<{width}}  -> {verdict.evidence}")
        counts = self._counts()
        warned = len(self.failed) - sum(verdict.severity == "must" for verdict in self.failed)
        lines += [
            "",
            f"{counts['pass']} passed, {counts['fail'] - warned} failed, {warned} warned, {counts['skip']} skipped "
            f"in {self.seconds:.1f} s",
        ]
        return "\n".join(lines)

    def _counts(self) -> dict[str, int]:
        counted = Counter(verdict.outcome for verdict in self.verdicts)
        return {"pass": counted["pass"], "fail": counted["fail"], "skip": counted["skip"]}
