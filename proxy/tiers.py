"""Which limits a key has on a model: `[tiers]` of one snapshot, as buckets. It owns the table's rules and no state of a bucket.

A row for a model (`"model:ID"`) counts as a whole instead of the one for its type. A tier that the file does not have is
`default`; one called `unlimited` has no limits unless the file gives it some. Models outside the catalogue, whose names a
caller could make up, share one set of buckets for each type.
"""

from collections.abc import Iterable, Mapping

from proxy.call import Principal
from proxy.catalogue import Model
from proxy.config import MODEL_TYPES, Limit, dotted
from proxy.errors import ConfigError
from proxy.limits.quota import Quota
from proxy.limits.reference import Bucket, Measure

DEFAULT, UNLIMITED = "default", "unlimited"
MODEL = "model:"
KEEP = 20_000  # keys × models whose buckets are kept ready
_FIELDS = (("rpm", Measure.RPM), ("rpd", Measure.RPD), ("tpm", Measure.TPM), ("concurrent", Measure.CONCURRENT))


class Tiers:
    """Of one snapshot; immutable but for what it remembers."""

    def __init__(self, rows: Mapping[str, Mapping[str, Limit]]) -> None:
        self._rows = rows
        self._quotas: dict[tuple[str, str, str], Quota] = {}

    def named(self, tier: str) -> str:
        """The tier of the file that counts for a key of this one."""
        return DEFAULT if tier not in self._rows and tier != UNLIMITED else tier

    def limit(self, tier: str, model: Model) -> Limit | None:
        """The row that counts for this model; None for no limit at all."""
        row = self._rows.get(self.named(tier))
        if not row:
            return None
        return row.get(MODEL + model.id) or row.get(model.type)

    def buckets(self, key: Principal, model: Model) -> tuple[Bucket, ...]:
        """What a call of this key to this model is counted by; the same objects each time."""
        return self.quota(key, model).buckets

    def quota(self, key: Principal, model: Model) -> Quota:
        """The same, prepared."""
        name = (key.id, key.tier, model.id)
        found = self._quotas.get(name)
        if found is None:
            if len(self._quotas) >= KEEP:
                self._quotas.clear()
            found = self._made(key, model)
            if model.listed:
                self._quotas[name] = found
        return found

    def _made(self, key: Principal, model: Model) -> Quota:
        limit = self.limit(key.tier, model)
        tier = self.named(key.tier)
        return Quota(buckets_of(limit, key.id, model.id if model.listed else f"other {model.type}", tier))


def buckets_of(limit: Limit | None, owner: str, model: str, tier: str) -> list[Bucket]:
    """One bucket for each figure of a row. Raises ValueError: a figure that is too large to be counted exactly."""
    if limit is None:
        return []
    figures = [(measure, getattr(limit, name)) for name, measure in _FIELDS]
    return [Bucket(owner, model, measure, figure, tier=tier) for measure, figure in figures if figure is not None]


def checked(rows: Mapping[str, Mapping[str, Limit]], models: Iterable[str], file: str = "") -> Tiers:
    """`[tiers]` → Tiers.

    Raises:
        ConfigError: a row for what is neither a type nor a model, or a figure that is too large.
    """
    known = {*MODEL_TYPES, *(MODEL + model for model in models)}
    for tier, row in rows.items():
        for name, limit in row.items():
            where = dotted(("tiers", tier, name))
            if name not in known:
                expected = "one of " + ", ".join(MODEL_TYPES) + ", or model:ID with the id of a model"
                raise ConfigError("no such type or model", file=file, where=where, expected=expected)
            try:
                buckets_of(limit, "", "", tier)
            except ValueError as error:
                raise ConfigError(str(error), file=file, where=where, expected="a smaller figure") from None
    return Tiers(rows)
