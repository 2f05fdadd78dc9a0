#!/usr/bin/env python3
"""Shows Doxygen the comments of the public headers, which are written with // for people who read the code.

Usage: doxygen_filter.py HEADER     prints the header with comments that Doxygen takes

A comment before a declaration, or behind it on its line, documents it; the one at the top of a file documents the file
and, when it begins with the name of a class ("Pipe: a bounded …"), that class as well.
Lines that are indented within a comment are code. Headings (// ── … ──) and everything else stay as they are.
"""

import re
import sys

COMMENT = re.compile(r"^(\s*)//(?!/) ?(.*)$")
TRAILING = re.compile(r"^(\s*[^/\s].*?\S)\s+//(?!/) ?(.*)$")
HEADING = re.compile(r"^──|──$|^NOLINT|^\w+ only\.$")
TERM = re.compile(r"\b(Threads|Errors|REQUIRES|Error): ")


def prose(text):
    """What Doxygen would take for a command, a tag or a reference is none; code in backticks is left as it is."""
    pieces = text.split("`")
    return "`".join(p if i % 2 else re.sub(r"([\\@<>#%&$])", r"\\\1", p) for i, p in enumerate(pieces))


def block(indent, lines, opening):
    """The lines of one comment, as Doxygen reads them."""
    out, code = [], False
    for line in lines:
        is_code = line.startswith("  ") and not re.match(r"^\s+[-\d]", line)
        if is_code != code:
            out.append("~~~" if code else "~~~{.cpp}")
            code = is_code
        if code:
            out.append(line[2:])
        else:
            out.append(TERM.sub(r"**\1**: ", prose(line)))
    if code:
        out.append("~~~")
    return [f"{indent}/// {line}".rstrip() for line in opening + out]


def first_paragraph(lines):
    """What the comment at the top of a file says its subject is, and who the subject is."""
    paragraph = []
    while paragraph != lines and lines[len(paragraph)]:
        paragraph.append(lines[len(paragraph)])
    subject = re.match(r"(\w+)(?: and (\w+))?: ", paragraph[0]) if paragraph else None
    return (subject.groups() if subject else ()), paragraph


def convert(lines):
    out, number, first = [], 0, True
    subjects, about = (), []
    while number < len(lines):
        comment = COMMENT.match(lines[number])
        if comment:
            indent, texts = comment.group(1), []
            start = number
            while number < len(lines) and (more := COMMENT.match(lines[number])) and more.group(1) == indent:
                texts.append(more.group(2))
                number += 1
            if first and start == 0:
                # It is of the file, and not of what comes next.
                out += block(indent, texts, ["\\file"]) + [""]
                subjects, about = first_paragraph(texts)
            elif any(HEADING.search(text) for text in texts):
                out += [f"{indent}//" for _ in texts]
            else:
                out += block(indent, texts, [])
            first = False
            continue
        declared = re.match(r"(?:class|struct) (?:alignas\(\d+\) )?(\w+)\b[^;]*$", lines[number])
        if declared and declared.group(1) in subjects:
            at = len(out)
            while at > 0 and out[at - 1].startswith(("///", "template")):
                at -= 1
            out[at:at] = block("", about, []) + ["///"]
        trailing = TRAILING.match(lines[number])
        if trailing and trailing.group(1).count('"') % 2 == 0:
            code, text = trailing.groups()
            out.append(code if HEADING.search(text) else f"{code}  ///< {prose(text)}")
            # The rest of a comment that goes on in the lines below.
            column = lines[number].index("//", len(code))
            while number + 1 < len(lines) and re.match(rf"^\s{{{column}}}// ?", lines[number + 1]):
                number += 1
                out.append(f"{' ' * column}///< {prose(lines[number][column + 2:].strip())}")
        else:
            out.append(lines[number])
        number += 1
    return out


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    with open(sys.argv[1], encoding="utf-8") as file:
        print("\n".join(convert(file.read().splitlines())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
