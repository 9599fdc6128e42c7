"""Sizes: files of at most 1000 lines, functions of at most 80 unless allowed with a reason
in long_functions.txt, 90 % of them of at most 40."""
import os

from source import PRODUCT, code_only, expect, files, functions, in_folder, main, read

FILE_MAX, FUNCTION_MAX, P90_MAX = 1000, 80, 40
OURS = [*PRODUCT, "examples", "bench"]
ALLOWED = "tests/lint/long_functions.txt"


def allowed(root):
    """{(path, function): reason}; a line is `path function reason…`, # comments."""
    rows = {}
    if os.path.exists(os.path.join(root, ALLOWED)):
        for line in read(root, ALLOWED).splitlines():
            if line.strip() and not line.startswith("#"):
                path, name, reason = line.split(None, 2)
                rows[path, name] = reason
    return rows


summary = []


def check(root):
    findings, sizes, used = [], [], set()
    exceptions = allowed(root)
    for path in files(root, ".c", ".h", ".def", ".py", ".cmake"):
        text = read(root, path)
        lines = text.count("\n")
        if lines > FILE_MAX:
            findings.append(f"{path}: {lines} lines, at most {FILE_MAX}")
        if not path.endswith(".c"):
            continue
        for name, first, size, _, _ in functions(code_only(text)):
            if path in in_folder([path], *OURS):
                sizes.append(size)
            if size > FUNCTION_MAX and (path, name) in exceptions:
                used.add((path, name))
            elif size > FUNCTION_MAX:
                findings.append(f"{path}:{first}: {name} has {size} lines, at most "
                                f"{FUNCTION_MAX}")
    for path, name in sorted(set(exceptions) - used):
        findings.append(f"{ALLOWED}: {path} {name} is not over {FUNCTION_MAX} lines any more")
    sizes.sort()
    if sizes:
        median, p90 = sizes[len(sizes) // 2], sizes[len(sizes) * 9 // 10]
        summary[:] = [f"{len(sizes)} functions: median {median} lines, 90 % at most {p90}, "
                      f"longest {sizes[-1]}"]
        if p90 > P90_MAX:
            findings.append(f"functions: 90 % are of at most {p90} lines, {P90_MAX} wanted")
    return findings


def self_test():
    def function(lines, name="f"):
        return f"int\n{name}(int x)\n{{\n" + "  x++;\n" * (lines - 3) + "}\n\n"

    expect(check, "base/a.c", "\n" * 1000, 0)
    expect(check, "base/a.c", "\n" * 1001, 1)
    short = "".join(function(5, f"s{i}") for i in range(20))
    expect(check, "base/a.c", short + function(80), 0)
    expect(check, "base/a.c", short + function(81), 1)
    expect(check, "base/a.c", short + function(81), 0, {ALLOWED: "base/a.c f one switch\n"})
    expect(check, ALLOWED, "base/a.c f one switch\n", 1, {"base/a.c": short + function(80)})
    expect(check, "functions: 90 %", "", 1, {"base/a.c": function(41)})


if __name__ == "__main__":
    main(check, self_test, __doc__, summary)
