"""The build context of a Dockerfile, without Docker.

    context.py copy FROM TO       copies what .dockerignore lets through
    context.py stage FILE NAME    prints the instructions of a build stage, one a line

A path is left out if the last pattern that matches it, or a directory above it, has no `!`. Patterns
are those of Docker: `*` and `?` stop at a slash, `**` does not, a leading slash means nothing.
"""

import os
import re
import shutil
import sys


def pattern(text):
    parts = []
    for token in re.findall(r"\*\*/?|\*|\?|\[[^]]*\]|.", text.strip("/")):
        if token.startswith("**"):
            parts.append("(.*/)?" if token.endswith("/") else ".*")
        elif token in "*?":
            parts.append("[^/]" + ("*" if token == "*" else ""))
        elif token.startswith("[") and len(token) > 1:
            parts.append(token)
        else:
            parts.append(re.escape(token))
    return re.compile("".join(parts) + "(/.*)?")


def rules(root):
    path = os.path.join(root, ".dockerignore")
    if not os.path.exists(path):
        return []
    lines = [line.strip() for line in open(path)]
    lines = [line for line in lines if line and not line.startswith("#")]
    return [(not line.startswith("!"), pattern(line.lstrip("!").strip())) for line in lines]


def copy(root, to):
    ignored = rules(root)
    copied = 0
    for directory, names, files in os.walk(root):
        place = os.path.relpath(directory, root)
        place = "" if place == "." else place + "/"
        if place == "":
            # Docker reads them too, but no pattern admits anything from them.
            names[:] = [name for name in names if name not in (".git", "target")]
        for file in files:
            out = False
            for excludes, regex in ignored:
                if regex.fullmatch(place + file):
                    out = excludes
            if not out:
                os.makedirs(os.path.join(to, place), exist_ok=True)
                shutil.copy2(os.path.join(root, place, file), os.path.join(to, place, file))
                copied += 1
    print(f"{copied} files in the context")


def stage(file, name):
    text = re.sub(r"^\s*#.*\n", "", open(file).read(), flags=re.M).replace("\\\n", " ")
    inside = False
    for line in filter(None, (line.strip() for line in text.split("\n"))):
        if line.upper().startswith("FROM "):
            words = line.split()
            own = words[3] if len(words) == 4 and words[2].upper() == "AS" else "final"
            inside = own == name
        elif inside:
            print(line)


if __name__ == "__main__":
    {"copy": copy, "stage": stage}[sys.argv[1]](*sys.argv[2:])
