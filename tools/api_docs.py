#!/usr/bin/env python3
"""Makes the reference of the C++ libraries with Doxygen. Called by `make docs`.

Usage: api_docs.py HEADERS OUT     HEADERS: the folder with rusm/otp.h; OUT: where index.html comes to lie

Fails on every warning of Doxygen, and on a class of the libraries without a word about it. What a member is called says
enough, or there is a comment: nobody is asked for one that only repeats the name.
"""

import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
GUIDES = ("getting-started", "processes", "from-erlang")

SETTINGS = """
PROJECT_NAME = RUSM
PROJECT_BRIEF = "Light, supervised processes for C++"
INPUT = {include}/rusm {pages}
USE_MDFILE_AS_MAINPAGE = {pages}/index.md
STRIP_FROM_PATH = {include} {pages}
STRIP_FROM_INC_PATH = {include}
OUTPUT_DIRECTORY = {work}
HTML_OUTPUT = {out}
WARN_LOGFILE = {work}/warnings
FILTER_PATTERNS = "*.h={python} {root}/tools/doxygen_filter.py"
EXCLUDE_SYMBOLS = rusm::detail rusm::detail::* rusm::otp::detail rusm::otp::detail::* std std::*
PREDEFINED = RUSM_SANITIZED __clang__
RECURSIVE = YES
QUIET = YES
WARN_NO_PARAMDOC = NO
GENERATE_LATEX = NO
HAVE_DOT = NO
HIDE_IN_BODY_DOCS = YES
MACRO_EXPANSION = YES
EXTRACT_STATIC = YES
SORT_MEMBER_DOCS = NO
TOC_INCLUDE_HEADINGS = 2
VERBATIM_HEADERS = NO
"""

INDEX = """# RUSM for C++ programs

Guides: {guides}

| include | target | namespace | |
|---|---|---|---|
| `<rusm/otp.h>` | `rusm::otp` | rusm::otp | processes, messages, links, monitors, timers, supervisors |
| `<rusm/observe.h>` | `rusm::observe` | rusm::observe | what processes do, as text and JSON; a socket to ask over |
| `<rusm/net.h>` | `rusm::net` | rusm::net | sockets for processes |
| `<rusm/kv.h>` | `rusm::kv` | rusm::kv | the key-value seam, and its store in memory |
| `<rusm/base.h>` | `rusm::base` | rusm | errors as values, clocks, randomness, the log |

Begin with rusm::otp::Runtime, rusm::otp::Process, which a body is given as `self`, and rusm::otp::Routine.
"""

NAMESPACES = """/// \\file
/// The namespaces.

/// Errors as values, clocks, randomness, the log.
namespace rusm {}
/// Processes, messages, links, monitors, timers, supervisors.
namespace rusm::otp {}
/// What processes do, for people.
namespace rusm::observe {}
/// Sockets for processes.
namespace rusm::net {}
/// Named buckets of byte strings.
namespace rusm::kv {}
"""

# Not a mistake: a member without a comment, and what is nested or specialised, as its template says it all. What Doxygen
# thinks of templates that inherit from themselves, and of std::hash, is its own affair.
IGNORED = re.compile(
    r"Member .* is not documented|Compound rusm::(?:(?:otp|observe|net|kv)::)?(?!(?:otp|observe|net|kv)::)\w+::\S+ is not"
    r"|Compound .*<.*> is not documented|potential recursive class relation|Internal inconsistency: scope for class std::")


def title_of(text):
    return text.splitlines()[0].lstrip("# ")


def page(name, text):
    """A guide as a page: without links to what is no page, and with fences that Doxygen knows."""
    text = re.sub(r"^```c\+\+.*$", "```{.cpp}", text, flags=re.MULTILINE)
    text = re.sub(r"^```(cmake|console|sh|erlang).*$", "```", text, flags=re.MULTILINE)
    text = re.sub(r"\[([^]]+)\]\((?!(?:%s)\.md\))[^)]*\)" % "|".join(GUIDES), r"\1", text)
    text = re.sub(r"\]\(([\w-]+)\.md\)", r"](@ref \1)", text)
    first, rest = text.split("\n", 1)
    return f"{first} {{#{name}}}\n{rest}"


def write(folder, name, text):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        file.write(text)


def build(include, out, work):
    pages = os.path.join(work, "pages")
    os.makedirs(pages)
    links = []
    for name in GUIDES:
        with open(os.path.join(ROOT, "docs", name + ".md"), encoding="utf-8") as file:
            text = file.read()
        links.append(f"[{title_of(text)}](@ref {name})")
        write(pages, name + ".md", page(name, text))
    write(pages, "index.md", INDEX.format(guides=" · ".join(links)))
    write(pages, "namespaces.h", NAMESPACES)
    write(work, "Doxyfile", SETTINGS.format(include=include, out=out, work=work, pages=pages, root=ROOT,
                                            python=sys.executable))
    os.makedirs(out, exist_ok=True)
    subprocess.run(["doxygen", os.path.join(work, "Doxyfile")], check=True)
    with open(os.path.join(work, "warnings"), encoding="utf-8") as file:
        return [line for line in file.read().splitlines() if "warning:" in line or "error:" in line]


def main():
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    include, out = (os.path.abspath(argument) for argument in sys.argv[1:])
    with tempfile.TemporaryDirectory(prefix="rusm-docs-") as work:
        findings = [line.replace(work + "/", "") for line in build(include, out, work) if not IGNORED.search(line)]
    for finding in findings:
        print(finding, file=sys.stderr)
    if not findings:
        print(f"{os.path.relpath(out)}/index.html")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
