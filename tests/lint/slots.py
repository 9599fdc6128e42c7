"""The names of tensors stand once in the product, in ATTNC_TENSOR_TABLE: what knows a tensor
by its name elsewhere would have to be found again for every new one."""
import ast
import re

from source import PRODUCT, code_only, expect, files, in_folder, line_of, main, read

TABLE = "include/attnc/attnc_rt.h"
NAMES = {"q", "k", "v"}
LISTS = {"qkv", "qkvo"}
# What is no tensor: (path, word).
ALLOWED = {
    ("cli/run_print.c", "q"): "the query of a verdict's worst row",
    ("python/attnc/_lib.py", "q"): "the same, a member of attnc_verdict",
    ("python/attnc/trace.py", "q"): "an axis of tables",
    ("python/attnc/torch.py", "q"): "an axis of scores",
}
STRING = re.compile(r'"((?:\\.|[^"\\\n])*)"')


def c_words(text):
    text = code_only(text, keep_strings=True)
    return [(line_of(text, m.start()), m.group(1)) for m in STRING.finditer(text)]


def python_words(text):
    return [(n.lineno, n.value) for n in ast.walk(ast.parse(text))
            if isinstance(n, ast.Constant) and isinstance(n.value, str)]


def check(root):
    findings, seen = [], {}
    paths = in_folder(files(root, ".c", ".h", ".def"), *PRODUCT)
    paths += [p for p in files(root, ".py") if p.startswith("python/attnc/")]
    for path in paths:
        words = (python_words if path.endswith(".py") else c_words)(read(root, path))
        for line, word in words:
            if word not in NAMES | LISTS or (path, word) in ALLOWED:
                continue
            if path == TABLE and word in NAMES and word not in seen:
                seen[word] = line
                continue
            findings.append(f'{path}:{line}: "{word}": the names of tensors stand in '
                            f"ATTNC_TENSOR_TABLE ({TABLE})")
    return findings


def self_test():
    table = '#define T(X) X(Q, "q") X(K, "k") X(V, "v")\n'
    expect(check, TABLE, table, 0)
    expect(check, TABLE, table + 'const char *q = "q";\n', 1)
    expect(check, "cli/a.c", 'int f = str_eq(name, "k"); /* "v" */\n', 1)
    expect(check, "cli/a.c", 'char c = "qkvo"[i];\n', 1)
    expect(check, "runtime/a.c", "char c = 'q';\n", 0)
    expect(check, "python/attnc/a.py", '"""Of "q"."""\nNAMES = ("q", "o")\n', 1)
    expect(check, "tests/a.c", 'char *q = "q";\n', 0)


if __name__ == "__main__":
    main(check, self_test, __doc__)
