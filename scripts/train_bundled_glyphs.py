"""Make ``models/glyphs`` from free fonts: gather them, train, measure. Some two hours on one core.

    python scripts/train_bundled_glyphs.py --fonts FOLDER --work FOLDER [--gather]

With --gather the fonts are first fetched into the folder with apt-get, dpkg-deb and npm, from Debian's packages and
from npm's @fontsource packages. What has been done is not repeated, so an interrupted call goes on where it was.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
import tarfile
from pathlib import Path

from vinocast.errors import SetupError
from vinocast.training.glyphs.recipe import TEST, VALIDATION, Recipe
from vinocast.training.glyphs.split import HeldOut
from vinocast.training.glyphs.train import train_chain

ROOT = Path(__file__).resolve().parent.parent
COMMAND = "python scripts/train_bundled_glyphs.py --fonts FOLDER --work FOLDER --gather"
# Another number of threads rounds differently.
THREADS = 1
RENDERERS = 2
# Debian 12.
DEBIAN = (
    "fonts-adf-baskervald", "fonts-adf-universalis", "fonts-agave", "fonts-anonymous-pro", "fonts-arabeyes",
    "fonts-averia-sans-gwf", "fonts-b612", "fonts-cabin", "fonts-cantarell", "fonts-cardo", "fonts-clear-sans",
    "fonts-cmu", "fonts-comic-neue", "fonts-crosextra-caladea", "fonts-crosextra-carlito", "fonts-dejavu-core",
    "fonts-dejavu-extra", "fonts-dosis", "fonts-ebgaramond", "fonts-essays1743", "fonts-fantasque-sans",
    "fonts-farsiweb", "fonts-firacode", "fonts-freefarsi", "fonts-freefont-ttf", "fonts-georgewilliams",
    "fonts-gfs-didot", "fonts-gfs-neohellenic", "fonts-hack", "fonts-hosny-amiri", "fonts-hosny-thabit",
    "fonts-inconsolata", "fonts-inter", "fonts-jetbrains-mono", "fonts-johnsmith-induni", "fonts-junicode",
    "fonts-jura", "fonts-kacst", "fonts-kacst-one", "fonts-lato", "fonts-lemonada", "fonts-liberation",
    "fonts-lindenhill", "fonts-linuxlibertine", "fonts-lmodern", "fonts-manrope", "fonts-monofur", "fonts-mononoki",
    "fonts-mph-2b-damase", "fonts-mplus", "fonts-noto-core", "fonts-noto-extra", "fonts-noto-mono",
    "fonts-noto-ui-core", "fonts-oldstandard", "fonts-open-sans", "fonts-paktype", "fonts-play", "fonts-prociono",
    "fonts-quattrocento", "fonts-quicksand", "fonts-roboto-unhinted", "fonts-sil-alkalami", "fonts-sil-andika",
    "fonts-sil-charis", "fonts-sil-doulos", "fonts-sil-galatia", "fonts-sil-gentium-basic", "fonts-sil-gentiumplus",
    "fonts-sil-harmattan", "fonts-sil-lateef", "fonts-sil-scheherazade", "fonts-sora", "fonts-stix",
    "fonts-symbola", "fonts-texgyre", "fonts-tiresias", "fonts-tuffy", "fonts-uralic", "fonts-urw-base35",
    "fonts-vollkorn", "fonts-yrsa-rasa", "ttf-bitstream-vera",
)  # fmt: skip
FONTSOURCE = (
    "alexandria", "almarai", "aref-ruqaa", "baloo-bhaijaan-2", "cairo", "changa", "el-messiri",
    "ibm-plex-sans-arabic", "lalezar", "readex-pro", "reem-kufi", "rubik", "tajawal", "vazirmatn", "zain",
)  # fmt: skip
FONTSOURCE_VERSION = "5.3.0"
# Symbols or small capitals in the place of letters, fixed-width and slanted twins of families that are there anyway,
# scripts and ornaments that no text is set in.
UNUSED = (
    "D050000L", "Standard Symbols PS", "Linux Biolinum Keyboard O", "Latin Modern Mono", "Latin Modern Math",
    "Latin Modern Roman Caps", "Latin Modern Roman Demi", "Latin Modern Roman Dunhill", "Latin Modern Roman Slanted",
    "Latin Modern Roman Unslanted", "Latin Modern Sans Quotation", "Latin Modern Sans Demi Cond",
    "M PLUS Code Latin 50", "M PLUS Code Latin 60", "Mplus Code 50", "Mplus Code 60", "M PLUS 1 Code",
    "Tiresias Infofont Z", "Tiresias PCfont Z", "Tiresias Signfont Z", "Tiresias Keyfont V2", "GWMonospace", "Caliban",
    "Cupola", "KacstDigital", "CMU Typewriter Text Variable Width", "CMU Classical Serif", "CMU Serif Upright Italic",
    "Amiri Quran Colored", "STIX Math", "DejaVu Math TeX Gyre", "Anonymous Pro Minus", "Chancery Uralic", "Z003",
    "TeX Gyre Chorus", "IndUni-C", "IndUni-P", "STIXGeneral", "Noto Serif Display", "Noto Sans Display",
    "Inter Display", "Shado", "Sindbad", "Nice", "Tholoth",
)  # fmt: skip


def main() -> int:
    """Gather, train and measure; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fonts", type=Path, required=True, help="folder of the fonts")
    parser.add_argument("--work", type=Path, required=True, help="folder of what lies between fonts and model; 3 GB")
    parser.add_argument("--gather", action="store_true", help="fetch the fonts into --fonts first")
    parser.add_argument("--output", type=Path, default=ROOT / "models" / "glyphs", help="(default: %(default)s)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    logging.getLogger("fontTools").setLevel(logging.ERROR)
    try:
        if arguments.gather:
            gather(arguments.fonts)
        held_out = HeldOut(TEST, VALIDATION, UNUSED)
        metrics = train_chain(
            arguments.fonts, arguments.output, arguments.work, held_out, Recipe(), THREADS, RENDERERS, COMMAND
        )
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    for split in ("validation", "test"):
        print(split, {name: value for name, value in metrics[split].items() if isinstance(value, int | float)})
    return 0


def gather(folder: Path) -> None:
    """Fetch the fonts: Debian's packages unpacked, and of npm's the files with Arabic. Raises SetupError."""
    packed = folder / "packed"
    packed.mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run(["apt-get", "download", *DEBIAN], cwd=packed, check=True)
        for package in sorted(packed.glob("*.deb")):
            subprocess.run(["dpkg-deb", "--extract", package, folder / package.name.partition("_")[0]], check=True)
        for name in FONTSOURCE:
            subprocess.run(
                ["npm", "pack", "--silent", f"@fontsource/{name}@{FONTSOURCE_VERSION}"], cwd=packed, check=True
            )
            with tarfile.open(packed / f"fontsource-{name}-{FONTSOURCE_VERSION}.tgz") as archive:
                for member in archive.getmembers():
                    if "-arabic-" in member.name and member.name.endswith(".woff2"):
                        member.name = Path(member.name).name
                        archive.extract(member, folder / "fontsource" / name, filter="data")
    except (OSError, subprocess.CalledProcessError) as error:
        raise SetupError(
            f"the fonts cannot be gathered ({error}): is this Debian, with apt-get, dpkg-deb, npm?"
        ) from error


if __name__ == "__main__":
    sys.exit(main())
