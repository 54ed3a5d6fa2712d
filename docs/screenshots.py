"""Pictures of the built pages as a phone and a screen show them, in the light and the dark theme.

``python docs/screenshots.py docs/_build/html screenshots [index choosing ...]`` writes PNG files.
It needs the browser Chromium.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

WIDTHS = {"phone": 390, "screen": 1280}
HEIGHT = 2400
# A window cannot be as narrow as a phone, but a frame in it can. Colours change at once.
FRAME = """<body style="margin: 0"><iframe style="border: 0" width="{width}" height="{height}"
src="{page}" onload="contentDocument.head.append(contentDocument.createElement('style'));
contentDocument.head.lastChild.textContent = '* {{transition: none !important}}';
contentDocument.documentElement.dataset.theme = '{theme}'"></iframe></body>"""
OPTIONS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    # A page may look into a frame with another file only in a browser that is told so.
    *("--disable-web-security", "--allow-file-access-from-files", "--hide-scrollbars"),
]


def find_browser():
    """Return the path of Chromium or Chrome, or None."""
    return shutil.which("chromium") or shutil.which("google-chrome")


def run_browser(options, page):
    """Open a local page without a window; return what the browser prints."""
    with tempfile.TemporaryDirectory() as profile:
        command = [find_browser(), *OPTIONS, f"--user-data-dir={profile}", *options, page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    return done.stdout


def take(page, width, theme, picture):
    """Write a picture of the top of a page."""
    with tempfile.TemporaryDirectory() as folder:
        frame = Path(folder) / "frame.html"
        frame.write_text(
            FRAME.format(page=page.as_uri(), width=width, height=HEIGHT, theme=theme),
            encoding="utf-8",
        )
        size = f"--window-size={width},{HEIGHT}"
        run_browser([size, f"--screenshot={picture}", "--virtual-time-budget=5000"], frame)


def main(html, pictures, *names):
    """Take four pictures of each page."""
    root, folder = Path(html).resolve(), Path(pictures).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or sorted(page.stem for page in root.glob("*.html")):
        for device, width in WIDTHS.items():
            for theme in ("light", "dark"):
                picture = folder / f"{name.replace('/', '-')}-{device}-{theme}.png"
                take(root / f"{name}.html", width, theme, picture)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
