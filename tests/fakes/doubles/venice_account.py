"""The Venice double's models, keys, characters and bills, and what all its routes share: keys, errors, rates, the abuse guard.

It owns the account in memory; inference is `venice`'s. Bodies of errors follow captures; texts marked invented do not.
"""

import csv
import io
import itertools
import math
import re
import time
import uuid
from collections import deque
from typing import Any

from fakes.doubles.faults import Answer, as_json
from fakes.doubles.server import Bucket, Double, Refuse, Seen, route
from fakes.doubles.venice_catalogue import CHARACTERS, COMPATIBILITY, STYLES, catalogue
from fakes.doubles.venice_schema import details_of, query_details

PREFIX = "/api/v1"
TYPES = ("embedding", "image", "text", "tts", "upscale", "inpaint")
INFERENCE = ("/chat/", "/image/generate", "/images/", "/image/upscale", "/image/edit", "/embeddings", "/audio/")


def _iso(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(at))


class Account(Double):
    """Everything but inference."""

    def __init__(
        self,
        *,
        requests_per_min: float = 500,
        balance: float = 100.0,
        failures_allowed: int = 20,
        **more: Any,
    ) -> None:
        super().__init__(**more)
        self.admin_key = f"canary-{self.kind}-admin-key-9e2f44"
        self.models = catalogue()
        self.balance = balance
        self.requests_per_min, self.failures_allowed = requests_per_min, failures_allowed
        self.created = 0
        self.news: dict[str, str] = {}  # more headers of what inference answers
        self.ledger: list[dict[str, Any]] = []
        self.limit_log: list[dict[str, Any]] = []
        self.keys: dict[str, dict[str, Any]] = {}
        self._secrets = {self.key: "INFERENCE", self.admin_key: "ADMIN"}
        self._buckets: dict[str, Bucket] = {}
        self._failures: deque[float] = deque()
        self._shut_until = 0.0
        self._tokens: set[str] = set()
        self._numbers = itertools.count(1)
        for secret, kind in list(self._secrets.items()):
            self._add_key(secret, {"apiKeyType": kind, "description": f"{kind.title()} key"})

    @property
    def base_url(self) -> str:
        return self.origin() + PREFIX

    def _add_key(self, secret: str, body: dict[str, Any]) -> dict[str, Any]:
        limits = {"usd": None, "diem": None, "vcu": None} | body.get("consumptionLimit", {})
        shown = {
            "apiKeyType": body["apiKeyType"], "consumptionLimits": limits, "createdAt": _iso(time.time()),
            "description": body.get("description", ""), "expiresAt": body.get("expiresAt") or None, "id": str(uuid.uuid4()),
            "last6Chars": secret[-6:], "lastUsedAt": None,
            "usage": {"trailingSevenDays": {"usd": "0.0000", "vcu": "0.0000", "diem": "0.0000"}},
        }  # fmt: skip
        self._secrets[secret] = body["apiKeyType"]
        self.keys[shown["id"]] = shown | {"_secret": secret}
        return shown

    # -- what all routes share ----------------------------------------------------------------------------------------

    @staticmethod
    def error(status: int, text: str, details: dict[str, Any] | None = None) -> Answer:
        return as_json(status, {"error": text} | ({"details": details} if details else {}))

    def bad(self, details: dict[str, Any] | None) -> None:
        if details:
            raise Refuse(self.error(400, "Invalid request parameters", details))

    def invalid(self, field: str, text: str) -> Refuse:
        return Refuse(self.error(400, "Invalid request parameters", {"_errors": [], field: {"_errors": [text]}}))

    def no_route(self, seen: Seen) -> Answer:
        return self.error(404, "Not found")  # invented

    def no_method(self, seen: Seen, allowed: list[str]) -> Answer:
        return self.error(405, "Method not allowed")  # invented

    def _kind_of_key(self, seen: Seen) -> str | None:
        scheme, _, secret = seen.headers.get("authorization", "").partition(" ")
        return self._secrets.get(secret) if scheme == "Bearer" else None

    def check_auth(self, seen: Seen) -> Answer | None:
        kind = self._kind_of_key(seen)
        admin = "/api_keys" in seen.path or "/billing" in seen.path
        if kind is None or (admin and kind != "ADMIN" and "rate_limits" not in seen.path):
            return self.error(401, "Authentication failed")
        return None

    def check_optional(self, seen: Seen) -> None:
        """Public routes: no key is fine, a wrong one is not."""
        if "authorization" in seen.headers and self._kind_of_key(seen) is None:
            raise Refuse(self.error(401, "Authentication failed"))

    def check_rate(self, seen: Seen) -> Answer | None:
        if time.monotonic() < self._shut_until:
            return self.error(429, f"Too many failed attempts (> {self.failures_allowed}). Please wait and try again")
        return None

    def throttled(self, seen: Seen, retry_after: float | None) -> Answer:
        answer = self.error(429, "Rate limit exceeded")
        if retry_after is not None:
            answer.headers["retry-after"] = str(math.ceil(retry_after))
        return answer

    def admit(self, model: str) -> dict[str, str]:
        """Count a request against its model's limit and the balance; the rate headers of the answer."""
        if self.balance <= 0:
            raise Refuse(self.error(402, "Insufficient USD or Diem balance to complete request"))
        bucket = self._buckets.setdefault(model, Bucket(self.requests_per_min / 60, self.requests_per_min))
        granted, left, wait = bucket.take()
        headers = {
            "x-ratelimit-limit-requests": f"{self.requests_per_min:.0f}",
            "x-ratelimit-remaining-requests": str(left),
            "x-ratelimit-reset-requests": str(int(time.time() + max(1.0, wait))),  # a Unix time
            "x-ratelimit-limit-tokens": "1000000",
            "x-ratelimit-remaining-tokens": "999000",
            "x-ratelimit-reset-tokens": "60",  # seconds
            "x-venice-balance-usd": f"{self.balance:.4f}",
            "x-venice-balance-diem": "0",
            "x-venice-balance-vcu": "0",
            "x-venice-model-id": model,
        }
        if not granted:
            self.limit_log.append(
                {
                    "apiKeyId": next(iter(self.keys)), "modelId": model, "rateLimitTier": "paid", "rateLimitType": "RPM",
                    "timestamp": _iso(time.time()),
                }
            )  # fmt: skip
            refusal = self.throttled(Seen("", "", "", {}, b"", 0, 0), wait)
            refusal.headers |= headers
            raise Refuse(refusal)
        self.created += 1
        return headers

    def book(self, sku: str, units: float, price: float, tokens: tuple[int, int] | None = None) -> None:
        amount = -units * price
        self.balance += amount
        inference = None
        if tokens:
            inference = {
                "requestId": f"req-{len(self.ledger)}", "promptTokens": tokens[0], "completionTokens": tokens[1],
                "inferenceExecutionTime": 50,
            }  # fmt: skip
        self.ledger.append(
            {
                "timestamp": _iso(time.time()), "sku": sku, "units": units, "pricePerUnitUsd": price, "amount": amount,
                "currency": "USD", "notes": "API Inference", "inferenceDetails": inference,
            }
        )  # fmt: skip

    def finish(self, seen: Seen, answer: Answer) -> Answer:
        answer.headers = {
            "cf-ray": f"{next(self._numbers):016x}-VCE",
            "x-venice-version": "20250709.013306",
        } | answer.headers
        if answer.status < 300 and any(part in seen.path for part in INFERENCE):
            answer.headers |= self.news
        if 400 <= answer.status < 500 and answer.status != 429 and any(part in seen.path for part in INFERENCE):
            now = time.monotonic()
            self._failures.append(now)
            while self._failures and self._failures[0] < now - 30:
                self._failures.popleft()
            if len(self._failures) > self.failures_allowed:
                self._shut_until = now + 30
        return answer

    def resolve(self, name: str, kind: str) -> dict[str, Any] | None:
        """A model by id, trait or compatibility name."""
        if name in self.models:
            return self.models[name] if self.models[name]["type"] == kind else None
        for model in self.models.values():
            if model["type"] == kind and name in model["model_spec"].get("traits", ()):
                return model
        return self.models.get(COMPATIBILITY.get(kind, {}).get(name, ""))

    # -- models -------------------------------------------------------------------------------------------------------

    @route("GET", f"{PREFIX}/models", auth=False)
    async def list_models(self, seen: Seen) -> Answer:
        self.check_optional(seen)
        self.bad(query_details("GET /models", seen.query))
        kind = seen.query.get("type", "text")
        rows = [m for m in self.models.values() if kind in ("all", m["type"]) or (kind == "code" and _is_code(m))]
        return as_json(200, {"object": "list", "type": kind, "data": rows})

    @route("GET", f"{PREFIX}/models/traits", auth=False)
    async def traits(self, seen: Seen) -> Answer:
        self.check_optional(seen)
        self.bad(query_details("GET /models/traits", seen.query))
        kind = seen.query.get("type", "text")
        rows = {
            t: m["id"] for m in self.models.values() if m["type"] == kind for t in m["model_spec"].get("traits", ())
        }
        return as_json(200, {"object": "list", "type": kind, "data": rows})

    @route("GET", f"{PREFIX}/models/compatibility_mapping", auth=False)
    async def mapping(self, seen: Seen) -> Answer:
        self.check_optional(seen)
        self.bad(query_details("GET /models/compatibility_mapping", seen.query))
        kind = seen.query.get("type", "text")
        return as_json(200, {"object": "list", "type": kind, "data": COMPATIBILITY.get(kind, {})})

    @route("GET", f"{PREFIX}/image/styles", auth=False)
    async def styles(self, seen: Seen) -> Answer:
        self.check_optional(seen)
        return as_json(200, {"object": "list", "data": STYLES})

    @route("GET", f"{PREFIX}/characters")
    async def characters(self, seen: Seen) -> Answer:
        return as_json(200, {"object": "list", "data": CHARACTERS})

    # -- keys ---------------------------------------------------------------------------------------------------------

    def json_of(self, seen: Seen, operation: str) -> dict[str, Any]:
        """The JSON body, valid by the schema; 415 and 400 otherwise."""
        if seen.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise Refuse(self.error(415, "Invalid content type"))
        try:
            body = seen.json
        except ValueError:
            raise Refuse(self.error(400, "Invalid request parameters", {"_errors": ["Invalid JSON"]})) from None
        self.bad(details_of(operation, body))
        return dict(body)

    @route("GET", f"{PREFIX}/api_keys")
    async def list_keys(self, seen: Seen) -> Answer:
        rows = [{k: v for k, v in key.items() if k != "_secret"} for key in self.keys.values()]
        return as_json(200, {"object": "list", "data": rows})

    @route("POST", f"{PREFIX}/api_keys")
    async def create_key(self, seen: Seen) -> Answer:
        return self._created(self.json_of(seen, "POST /api_keys"))

    def _created(self, body: dict[str, Any]) -> Answer:
        expires = body.get("expiresAt", "")
        if expires and not re.fullmatch(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d{3})?Z)?", expires):
            raise self.invalid("expiresAt", "Invalid date")
        secret = f"vn-{uuid.uuid4().hex}"
        shown = self._add_key(secret, body)
        answer = {
            "apiKey": secret, "apiKeyType": shown["apiKeyType"], "consumptionLimit": shown["consumptionLimits"],
            "expiresAt": shown["expiresAt"], "id": shown["id"], "description": shown["description"],
        }  # fmt: skip
        return as_json(200, {"success": True, "data": answer})

    @route("DELETE", f"{PREFIX}/api_keys")
    async def delete_key(self, seen: Seen) -> Answer:
        key = self.keys.pop(seen.query.get("id", ""), None)
        if key is None:
            raise self.invalid("id", "Required" if "id" not in seen.query else "Unknown API key")  # invented
        del self._secrets[key["_secret"]]
        return as_json(200, {"success": True})

    @route("GET", f"{PREFIX}/api_keys/rate_limits")
    async def rate_limits(self, seen: Seen) -> Answer:
        limits = [
            {
                "apiModelId": m,
                "rateLimits": [{"amount": self.requests_per_min, "type": "RPM"}, {"amount": 1000000, "type": "TPM"}],
            }
            for m in self.models
        ]
        data = {
            "accessPermitted": self.balance > 0, "apiTier": {"id": "paid", "isCharged": True},
            "balances": {"USD": self.balance, "VCU": 0, "DIEM": 0}, "keyExpiration": None,
            "nextEpochBegins": _iso((time.time() // 86400 + 1) * 86400), "rateLimits": limits,
        }  # fmt: skip
        return as_json(200, {"data": data})

    @route("GET", f"{PREFIX}/api_keys/rate_limits/log")
    async def limit_logs(self, seen: Seen) -> Answer:
        return as_json(200, {"object": "list", "data": self.limit_log[-50:]})

    @route("GET", f"{PREFIX}/api_keys/generate_web3_key", auth=False)
    async def web3_token(self, seen: Seen) -> Answer:
        token = uuid.uuid4().hex
        self._tokens.add(token)
        return as_json(200, {"success": True, "data": {"token": token}})

    @route("POST", f"{PREFIX}/api_keys/generate_web3_key", auth=False)
    async def web3_key(self, seen: Seen) -> Answer:
        """The double cannot verify a wallet's signature; it asks for the right form and a token that it gave out, once."""
        body = self.json_of(seen, "POST /api_keys/generate_web3_key")
        fits = re.fullmatch(r"0x[0-9a-fA-F]{130}", body["signature"]) and re.fullmatch(
            r"0x[0-9a-fA-F]{40}", body["address"]
        )
        if not fits or body["token"] not in self._tokens:
            raise Refuse(self.error(401, "Authentication failed"))  # invented
        self._tokens.discard(body["token"])
        return self._created({"description": "Web3 API Key"} | body)

    # -- bills --------------------------------------------------------------------------------------------------------

    @route("GET", f"{PREFIX}/billing/usage")
    async def billing(self, seen: Seen) -> Answer:
        query = seen.query
        self.bad(query_details("GET /billing/usage", query))
        limit, page = int(query.get("limit", 200)), int(query.get("page", 1))
        rows = [r for r in self.ledger if r["currency"] == query.get("currency", r["currency"])]
        rows = [r for r in rows if query.get("startDate", "") <= r["timestamp"] <= query.get("endDate", "9999")]
        rows.sort(key=lambda r: str(r["timestamp"]), reverse=query.get("sortOrder", "desc") == "desc")
        pages = math.ceil(len(rows) / limit)
        shown = rows[(page - 1) * limit : page * limit]
        counts = {"limit": limit, "page": page, "total": len(rows), "total-pages": pages}
        headers = {f"x-pagination-{k}": str(v) for k, v in counts.items()}
        if "text/csv" in seen.headers.get("accept", ""):
            sheet = io.StringIO()
            writer = csv.writer(sheet)
            names = ["timestamp", "sku", "pricePerUnitUsd", "units", "amount", "currency", "notes"]
            writer.writerow(names)
            writer.writerows([r[n] for n in names] for r in shown)
            headers |= {"content-type": "text/csv", "content-disposition": "attachment; filename=billing_usage.csv"}
            return Answer(200, sheet.getvalue().encode(), headers)
        pagination = {"limit": limit, "page": page, "total": len(rows), "totalPages": pages}
        answer = as_json(200, {"data": shown, "pagination": pagination})
        answer.headers |= headers
        return answer


def _is_code(model: dict[str, Any]) -> bool:
    return bool(model["model_spec"].get("capabilities", {}).get("optimizedForCode"))
