"""POST admin/models/load, status, instances, delete: models in the memory of upstreams that have one, in Bytez's words."""

from proxy.call import Target
from proxy.catalogue import Model
from proxy.errors import BadRequest, ModelUnknown, NotFound
from proxy.pipeline import House
from proxy.ports import HoldsModels
from proxy.wire import instances as wire
from proxy.wire.body import head_of
from routes._endpoint import Answer, Desk
from routes._inbound import Inbound


async def load(inbound: Inbound, desk: Desk) -> Answer:
    """Load a model, or change how long it stays. Answers as soon as that has begun, or (`wait`) when it is done."""
    inbound.json_type()
    asked = head_of(await inbound.body(desk.max_body), wire.Load)
    if asked.expirationPeriodSeconds == 0:
        raise BadRequest(
            "'expirationPeriodSeconds' must be at least 1, or -1 for ever.", param="expirationPeriodSeconds"
        )
    house = desk.house
    model, target, holder = seat(house, asked.model)
    house.enter()  # a reload must not close it meanwhile
    try:
        instance = await holder.load(
            target, concurrency=asked.concurrency, keep_s=asked.expirationPeriodSeconds, wait=asked.wait
        )
    finally:
        house.leave()
    body = wire.card(instance, model=model.id, upstream=target.upstream)
    if instance.state in ("waiting", "loading"):
        body["status"] = "started"
        body["concurrency"] = instance.concurrency or asked.concurrency
    return Answer(body)


async def status(inbound: Inbound, desk: Desk) -> Answer:
    inbound.json_type()
    asked = head_of(await inbound.body(desk.max_body), wire.Named)
    model, target, holder = seat(desk.house, asked.model)
    return Answer(wire.card(holder.instance(target), model=model.id, upstream=target.upstream))


async def listed(inbound: Inbound, desk: Desk) -> Answer:
    """What is in memory now, of every upstream."""
    del inbound
    house = desk.house
    named = [(target, model.id) for model in house.catalogue.models.values() for target in model.targets]
    rows = []
    for upstream, adapter in house.adapters.items():
        if isinstance(adapter, HoldsModels):
            names = {target.model: id_ for target, id_ in reversed(named) if target.upstream == upstream}
            for instance in adapter.instances(list(names)):
                model = names.get(instance.model, f"{upstream}/{instance.model}")
                rows.append(wire.card(instance, model=model, upstream=upstream))
    return Answer({"object": "list", "data": rows})


async def delete(inbound: Inbound, desk: Desk) -> Answer:
    """Unload a model: it takes no new calls, those running end. The next call for it loads it again."""
    inbound.json_type()
    asked = head_of(await inbound.body(desk.max_body), wire.Delete)
    house = desk.house
    model, target, holder = seat(house, asked.model)
    house.enter()
    try:
        instance = await holder.unload(target, wait=asked.wait)
    finally:
        house.leave()
    if instance is None:
        raise NotFound(f"The model {model.id!r} is not loaded.", param="model")
    return Answer(wire.card(instance, model=model.id, upstream=target.upstream))


def seat(house: House, name: str) -> tuple[Model, Target, HoldsModels]:
    """A model's name → the first of its targets that has instances.

    Raises:
        ModelUnknown: no such model. BadRequest: none of its upstreams has instances.
    """
    model = _found(house, name)
    kinds = []
    for target in model.targets:
        adapter = house.adapters[target.upstream]
        if isinstance(adapter, HoldsModels):
            if not model.listed and not adapter.owns(target):
                raise ModelUnknown(f"The model {name[:200]!r} does not exist.", param="model")
            return model, target, adapter
        kinds.append(house.cards[target.upstream].kind)
    said = ", ".join(repr(kind) for kind in dict.fromkeys(kinds))
    raise BadRequest(
        f"The model {model.id!r} has no instances: it is served by an upstream of kind {said}, which is not loaded here.",
        param="model",
    )


def _found(house: House, name: str) -> Model:
    """Of whatever type a local engine can have."""
    try:
        return house.resolver.find(name, "text")[0]
    except ModelUnknown as unknown:
        try:
            return house.resolver.find(name, "embedding")[0]
        except ModelUnknown:
            raise unknown from None
