#!/usr/bin/env python3
"""Makes the table of the caller guest out of the C bindings of its world, so that no import is forgotten.

Usage: table.py BINDINGS.c CALLS.cc CALLS.txt
CALLS.cc is compiled into the guest; CALLS.txt tells the tests the same, a line for each import, in the same order:
  MODULE NAME PARAM... -> [RESULT]        each of them i32, i64, f32 or f64
"""

import re
import sys

IMPORT = re.compile(
    r'__import_module__\("([^"]+)"\), __import_name__\("([^"]+)"\)\)\)\s*extern (\w+) (\w+)\(([^)]*)\);')
TYPES = {"int32_t": "i32", "size_t": "i32", "uint8_t *": "i32", "int64_t": "i64", "float": "f32", "double": "f64"}


def main(bindings, table, text):
    with open(bindings, encoding="utf-8") as file:
        imports = IMPORT.findall(file.read())
    if not imports:
        sys.exit(f"{bindings} declares no imports")
    with open(table, "w", encoding="utf-8") as file:
        file.write('#include "call.h"\n\nextern "C" {\n')
        for module, name, result, function, params in imports:
            file.write(f'[[clang::import_module("{module}"), clang::import_name("{name}")]] '
                       f"{result} {function}({params});\n")
        file.write("}\n\nconst Call kCalls[] = {\n")
        for *_, function, _ in imports:
            file.write(f"    apply<{function}>,\n")
        file.write("};\nconst unsigned kCallCount = sizeof(kCalls) / sizeof(kCalls[0]);\n")
    with open(text, "w", encoding="utf-8") as file:
        for module, name, result, _, params in imports:
            # The import of a destructor has a parameter with a name.
            kinds = [re.sub(r"\bhandle$", "", param.strip()).strip() for param in params.split(",")]
            kinds = [TYPES[kind] for kind in kinds if kind != "void"]
            words = [module, name, *kinds, "->", *([TYPES[result]] if result != "void" else [])]
            file.write(" ".join(words) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
