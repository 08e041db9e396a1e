"""POST audio/transcriptions."""

from proxy.call import Call, Dialect, Operation
from proxy.errors import MediaUnsupported, NotSupported
from proxy.wire import transcriptions as wire
from routes._endpoint import Desk
from routes._inbound import Inbound
from routes._multipart import form_of, is_form


async def create(inbound: Inbound, desk: Desk) -> Call:
    """Decode and check the form; its file and texts travel as they came.

    Raises:
        NotSupported: nothing here can hear.
    """
    content_type = inbound.header(b"content-type")
    if content_type is None or not is_form(content_type):
        raise MediaUnsupported("A recording is sent as multipart/form-data, in a part named 'file'.")
    form = form_of(await inbound.body(desk.max_body), content_type)
    names = {wire.plain(name) for name in (*form.texts, *form.files)}
    if inbound.dialect is Dialect.VENICE:
        wire.venice_only(names)
    request = wire.request_of(form.pairs)
    recording = wire.recording_of(form.pairs, form.files)
    _can_hear(request.model, desk)
    return Call(
        id=inbound.id,
        operation=Operation.TRANSCRIPTION,
        dialect=inbound.dialect,
        request=request,
        raw=b"",
        fields=wire.fields_of(form.pairs),
        principal=inbound.principal,
        stream=bool(request.stream),
        upload=recording,
    )


def _can_hear(model: str, desk: Desk) -> None:
    """A house without any model of the type is told apart from one that lacks this model."""
    catalogue = desk.house.catalogue
    qualified = model.partition("/")[0] in catalogue.upstreams
    if not qualified and not catalogue.of_type("asr") and not catalogue.mappings["asr"]:
        raise NotSupported(
            "Nothing is configured here that can transcribe audio: it takes a model of type 'asr' on an upstream of "
            "kind 'openai'.",
            param="model",
        )
