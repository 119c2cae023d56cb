#!/usr/bin/python3
"""Files of a folder -> initialisers of api::Asset (src/api/server/web.h), which #include takes in.

usage: embed.py FOLDER OUTPUT
"""
import hashlib
import os
import sys

TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8",
         ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
DELIMITER = "beeline_page"
# Compilers must take literals of 64 KiB; longer ones are put together from parts.
PART = 16000


def literal(text):
    assert f"){DELIMITER}\"" not in text
    parts = [text[i:i + PART] for i in range(0, len(text), PART)] or [""]
    return "\n".join(f'R"{DELIMITER}({part}){DELIMITER}"' for part in parts)


def main(folder, output):
    lines = []
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), encoding="utf-8", newline="") as file:
            text = file.read()
        etag = hashlib.sha256(text.encode()).hexdigest()[:24]
        lines.append(f'{{"/{name}", "{TYPES[os.path.splitext(name)[1]]}", "\\"{etag}\\"", {literal(text)}}},\n')
    with open(output, "w", encoding="utf-8", newline="") as file:
        file.writelines(lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
