"""GET characters: those of the configuration."""

from routes._endpoint import Answer, Desk
from routes._inbound import Inbound


async def listed(inbound: Inbound, desk: Desk) -> Answer:
    del inbound
    rows = [
        {
            "slug": slug,
            "name": row.name,
            "description": row.description,
            "adult": row.adult,
            "createdAt": row.created_at,
            "updatedAt": row.updated_at,
            "shareUrl": row.share_url,
            "stats": {"imports": row.imports},
            "tags": list(row.tags),
            "webEnabled": row.web_enabled,
        }
        for slug, row in desk.house.catalogue.characters.items()
    ]
    return Answer({"object": "list", "data": rows})
