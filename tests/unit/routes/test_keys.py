"""api_keys over sockets: made, listed, used, revoked; an inference key may not look."""

from pathlib import Path

import httpx2

from fakes.gateway import gateway


def test_the_life_of_a_key(tmp_path: Path) -> None:
    with (
        gateway(f'[store]\nurl = "sqlite:///{tmp_path}/t.db"\n') as gate,
        httpx2.Client(base_url=gate.venice) as client,
    ):

        def call(method: str, key: str = "", **more: object) -> httpx2.Response:
            headers = {"authorization": f"Bearer {key}"} if key else {}
            return client.request(method, "/api_keys", headers=headers, **more)  # type: ignore[arg-type]

        admin = call("POST", json={"apiKeyType": "ADMIN", "description": "first"}).json()["data"]["apiKey"]
        assert call("GET").status_code == 401
        assert call("GET", admin + "x").status_code == 401
        limited = {"apiKeyType": "INFERENCE", "description": "app", "consumptionLimit": {"usd": 5}}
        made = call("POST", admin, json=limited).json()["data"]
        assert (made["consumptionLimit"]["usd"], made["apiKeyType"]) == (5.0, "INFERENCE")
        assert call("GET", made["apiKey"]).status_code == 403
        rows = call("GET", admin).json()["data"]
        assert [row["description"] for row in rows] == ["app", "first"]
        assert made["apiKey"] not in call("GET", admin).text
        assert call("DELETE", admin).status_code == 400
        assert call("DELETE", admin, params={"id": "nobody"}).status_code == 400
        assert call("DELETE", admin, params={"id": made["id"]}).json() == {"success": True}
        assert call("GET", made["apiKey"]).status_code == 401
        assert client.get("/characters", headers={"x-api-key": admin}).status_code == 200
        secrets = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        assert admin.encode() not in secrets
