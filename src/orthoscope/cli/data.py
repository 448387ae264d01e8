"""`orthoscope data`: data sets that ship, made anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orthoscope.cli import options
from orthoscope.cli.output import emit
from orthoscope.report.bars import bar
from orthoscope.report.tables import flat

data = typer.Typer(help="Make the data sets that ship.", rich_markup_mode=None)


@data.callback()
def _group() -> None:
    """Make the data sets that ship."""


@data.command("glyphs")
def glyphs(
    characters: Annotated[int, typer.Option(help="Number of characters, each a class.")] = 1000,
    held_out: Annotated[int, typer.Option(help="Faces that are kept from training.")] = 5,
    fonts: Annotated[
        Path | None, typer.Option(help="Folder of fonts, instead of /usr/share/fonts.", show_default=False)
    ] = None,
    out: options.Out = Path("runs/glyph-data"),
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Render characters that Chinese and Japanese standards share, from free fonts that Debian packages.

    Writes glyphs.npz as it ships, its credits and a sheet of images into the folder --out, and prints how far apart the
    classes are. Faces that draw nearly like another are left out.

    Example: orthoscope data glyphs --characters 100 --out runs/hundred
    """
    from orthoscope.experiments.glyph_data import FILES, JOB, GlyphData, describe
    from orthoscope.locking import locked
    from orthoscope.plots.glyphs import glyph_sheet
    from orthoscope.report.page import save_figure

    plan = GlyphData(characters=characters, held_out=held_out, seed=seed)
    with locked(out, JOB, FILES):
        with bar("rendering", quiet=quiet) as advance:
            found = plan.rendered(fonts, progress=advance)
        found.write(out / "glyphs.npz")
        save_figure(glyph_sheet(found.levels), out / "sheet.svg")
    shown = describe(found) | {"folder": str(out)}
    emit(shown if json else flat(shown), as_json=json, title="glyphs")
