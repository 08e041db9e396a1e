# ruff: noqa: E501  one style a row
"""The image styles of `GET /image/styles`, and what each adds to a prompt on upstreams without styles.

It owns names and wording; it knows no upstream. Invariants: names are unique whatever their case, a template mentions
the prompt exactly once, and applying a style never loses a word of the caller's.
"""

import difflib
from types import MappingProxyType
from typing import Final

import msgspec

from proxy.errors import BadRequest


class Style(msgspec.Struct, frozen=True):
    """`template` holds the prompt at `{}`; `avoid` goes behind the caller's negative prompt."""

    name: str
    template: str
    avoid: str = ""

    def apply(self, prompt: str, negative_prompt: str = "") -> tuple[str, str]:
        """Prompt and negative prompt in this style."""
        before, after = self.template.split("{}")
        avoid = ", ".join(part for part in (negative_prompt.strip(), self.avoid) if part)
        return f"{before}{prompt.strip()}{after}", avoid


_ROWS: Final = """
3D Model | a finished 3D render of {}, physically based materials, soft studio lighting, clean topology | flat drawing, sketch, noise
Analog Film | {}, shot on 35mm film, visible grain, slightly faded colours, gentle halation | digital sharpness, oversaturated, render
Anime | {}, Japanese animation still, clean line work, cel shading, expressive eyes | photograph, realistic skin, 3D render
Cinematic | a film frame of {}, wide aspect, dramatic key light, shallow focus, graded colours | snapshot, flat light, cartoon
Comic Book | {} as a comic book panel, inked outlines, halftone dots, bold flat colours | photograph, blur, 3D render
Craft Clay | {} modelled in plasticine, fingerprints in the clay, stop-motion set, tabletop light | glossy render, flat drawing
Digital Art | {}, digital painting, crisp detail, layered brushwork, luminous colours | photograph, low detail, grain
Enhance | {}, rich detail, balanced light, sharp focus, refined composition | blurry, distorted, low quality
Fantasy Art | {}, painted for a fantasy book cover, mythical mood, glowing light, ornate detail | modern objects, plain, photograph
Isometric Style | {} as an isometric miniature, parallel projection, tidy geometry, soft shadows | perspective distortion, photograph
Line Art | {}, black ink line drawing on white paper, confident contours, no fill | colour, shading, photograph
Lowpoly | {} built from few flat-shaded polygons, faceted surfaces, simple palette | fine texture, photograph, noise
Neon Punk | {}, night city glow, magenta and cyan neon, wet reflections, futuristic fashion | daylight, rustic, muted colours
Origami | {} folded from paper, sharp creases, plain backdrop, soft shadow | fabric, drawing, wrinkles
Photographic | a photograph of {}, natural light, 50mm lens, true colours, fine detail | painting, drawing, render
Pixel Art | {} in pixel art, coarse grid, limited palette, sprite shading | smooth gradients, photograph, blur
Texture | seamless surface texture of {}, seen straight on, even light, tileable | perspective, objects, shadows
Advertising | {} as a commercial product shot, spotless set, appealing highlights, room for a headline | clutter, dull light, amateur
Food Photography | {}, appetising close-up, soft window light, fresh garnish, shallow focus | unappetising, plastic, harsh flash
Real Estate | {}, bright wide-angle interior photograph, straight verticals, welcoming light | clutter, darkness, distortion
Abstract | an abstract composition about {}, shapes, rhythm and colour instead of likeness | realistic, photograph, figurative
Cubist | {} broken into overlapping planes, several viewpoints at once, earthy palette | realistic, photograph, smooth
Graffiti | {} sprayed on a concrete wall, drips, bold lettering shapes, vivid street colours | clean studio, photograph, muted
Hyperrealism | {} in hyperrealistic detail, every pore and fibre visible, precise light | cartoon, sketch, simplified
Impressionist | {}, impressionist oil painting, broken strokes, light captured outdoors | photograph, sharp outlines, flat colour
Pointillism | {} painted entirely in small dots of pure colour, optical mixing | brush strokes, lines, photograph
Pop Art | {} as pop art, screen print look, repeated motif, loud primary colours | subtle, realistic, muted
Psychedelic | {}, swirling psychedelic poster, liquid shapes, shifting rainbow colours | plain, realistic, grey
Renaissance | {} as a Renaissance panel painting, chiaroscuro, fine glazes, classical poses | modern objects, cartoon, photograph
Steampunk | {} with brass gears, leather and steam, Victorian machinery, warm lamps | modern plastic, minimal, neon
Surrealist | {} in a surreal dream scene, impossible scale, calm precise painting | ordinary, snapshot, plain
Typography | {} made of lettering, expressive type layout, strong hierarchy, few colours | photograph, illegible, clutter
Watercolor | {}, watercolour on textured paper, wet edges, transparent washes | photograph, hard outlines, render
Fighting Game | {} as a fighting game key visual, dynamic pose, impact sparks, arena backdrop | calm, still life, photograph
GTA | {}, painted crime-game loading screen, hard shadows, sunset palette, heavy outlines | photograph, pastel, soft
Super Mario | {} in a cheerful platform-game world, rounded shapes, bright primary colours, floating blocks | dark, gritty, realistic
Minecraft | {} made of large cubes, blocky voxel landscape, pixelated surfaces | curves, fine detail, photograph
Pokemon | {} as a cute collectable game creature scene, soft cel shading, friendly colours | realistic, scary, photograph
Retro Arcade | {} on an early arcade screen, black ground, few bright pixels, scan lines | smooth, high resolution, photograph
Retro Game | {}, sixteen-bit console game graphics, tile background, dithering | smooth gradients, photograph, modern
RPG Fantasy Game | {} as role-playing game art, detailed armour and scenery, heroic mood | modern city, photograph, plain
Strategy Game | {} seen from above as on a strategy game map, small units, clear terrain | close-up, photograph, portrait
Street Fighter | {}, arcade brawler illustration, muscular figures, ink splashes, motion lines | photograph, static, soft
Legend of Zelda | {} in an adventure game's painterly world, rolling meadows, soft cel shading | modern, gritty, photograph
Architectural | {} as an architectural visualisation, precise geometry, material detail, daylight | people in front, distortion, sketchy
Disco | {} under a mirror ball, sparkling lights, seventies glamour, saturated colours | daylight, plain, grey
Dreamscape | {} in a hazy dreamscape, floating forms, pastel light, endless horizon | harsh, ordinary, realistic
Dystopian | {} in a bleak dystopia, crumbling concrete, smog, cold light | cheerful, lush, bright
Fairy Tale | {} as a fairy tale illustration, enchanted forest light, storybook charm | modern, gritty, photograph
Gothic | {}, gothic mood, pointed arches, candlelight, deep shadows | bright, cheerful, modern
Grunge | {}, grunge collage, scratched textures, torn edges, dirty type | clean, polished, bright
Horror | {}, unsettling horror scene, dim light, long shadows, creeping fog | cheerful, bright, cute
Minimalist | {}, minimalist composition, much empty space, few shapes, restrained palette | clutter, ornament, texture
Monochrome | {} in black and white, full tonal range, strong contrast | colour, tint, flat grey
Nautical | {}, maritime mood, ropes and sails, salty light, navy and white | desert, city, neon
Space | {} in outer space, star fields, nebula light, vast distance | indoors, daylight, plain
Stained Glass | {} as a stained glass window, lead lines, glowing coloured panes | photograph, gradients, dull
Techwear Fashion | {} in techwear, layered functional fabrics, straps, dark urban backdrop | vintage clothes, bright, rustic
Tribal | {} in tribal patterns, natural pigments, carved symmetry, bold rhythm | modern, photograph, pastel
Zentangle | {} filled with zentangle patterns, fine black pen, dense repetition | colour, blur, photograph
Collage | {} as a cut-out collage, mixed papers, visible edges, layered scraps | smooth, single surface, render
Flat Papercut | {} cut from flat coloured paper, crisp silhouettes, few layers | gradients, photograph, depth
Kirigami | {} as kirigami, cut and folded from one white sheet, raised shapes, side light | colour print, drawing, flat
Paper Mache | {} sculpted in papier-mache, rough torn strips, painted surface | smooth plastic, photograph, flat
Paper Quilling | {} made of rolled paper strips, fine coils, colourful edges | flat print, photograph, paint
Papercut Collage | {} from overlapping paper cut-outs, patterned papers, handmade charm | smooth render, photograph
Papercut Shadow Box | {} as a layered papercut shadow box, lit from behind, deep frame | flat, photograph, harsh light
Stacked Papercut | {} carved out of stacked coloured papers, stepped contours, soft shadows | flat, gradients, photograph
Thick Layered Papercut | {} from thick layers of card, heavy shadows between them, bold shapes | thin lines, photograph, flat
Alien | {} with alien biology and strange architecture, otherworldly colours, unknown materials | earthly, ordinary, plain
Film Noir | {}, film noir still, hard venetian-blind shadows, smoke, black and white | colour, cheerful, flat light
HDR | {}, high dynamic range photograph, detail in shadows and highlights, vivid clarity | flat, blown highlights, dull
Long Exposure | {}, long exposure photograph, light trails, silky motion, steady background | frozen motion, snapshot, cartoon
Neon Noir | {}, rainy neon street at night, noir mood, reflections, deep shadow | daylight, cheerful, pastel
Silhouette | {} as a dark silhouette against a bright backdrop, clear outline, no inner detail | front light, texture, clutter
Tilt-Shift | {}, tilt-shift photograph, thin plane of focus, toy-like scale, seen from above | deep focus, close-up, dark
"""


def _read(rows: str) -> dict[str, Style]:
    styles = (Style(*(part.strip() for part in row.split("|"))) for row in rows.strip().splitlines())
    return {style.name: style for style in styles}


STYLES: Final = MappingProxyType(_read(_ROWS))
NAMES: Final = tuple(STYLES)
_BY_LOWER: Final = {name.lower(): style for name, style in STYLES.items()}


def style(name: str, *, field: str = "style_preset") -> Style:
    """By its name, whatever the case. BadRequest naming the nearest ones."""
    found = _BY_LOWER.get(name.strip().lower())
    if found is not None:
        return found
    near = [_BY_LOWER[key].name for key in difflib.get_close_matches(name.strip().lower()[:64], _BY_LOWER, 3, 0.5)]
    hint = f" Near: {', '.join(near)}." if near else ""
    text = f"{field}: expected one of the styles of GET /image/styles, got {name[:64]!r}.{hint}"
    raise BadRequest(text, param=field)
