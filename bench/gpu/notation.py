"""The one-line notation of end-to-end cases (tests/e2e/case.h), as far as the command line can say
a case: its parts are texts, which the command line reads."""
import re

SIZE = re.compile(r"(b|h|s|sq|sk)\d+(/\d+)?$")


def read(path):
    """The cases of a file: lines that are neither empty nor comments."""
    with open(path, encoding="utf-8") as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                yield line.strip()


def parts(text):
    """{fields, shape, target, schedule, other}: the spec's fields in braces, the rest in words."""
    end = text.rindex("}") + 1
    made = {"fields": text[:end], "shape": [], "target": "sm_80", "schedule": "", "other": []}
    for word in text[end:].split():
        if SIZE.match(word):
            made["shape"].append(word)
        elif word.startswith("sm_"):
            made["target"] = word
        elif word.startswith("template="):
            made["schedule"] = word
        elif not word.startswith("seed="):
            made["other"].append(word)
    made["shape"] = " ".join(made["shape"])
    return made


def spec(fields):
    """The YAML document of a case's fields."""
    return "{attnc: 1, name: case, " + fields[1:]


def for_cli(text):
    """(spec, shape, target, schedule), or why the command line cannot say it."""
    p = parts(text)
    if p["other"]:
        return f"the command line has no word for {' '.join(p['other'])}"
    return spec(p["fields"]), p["shape"], p["target"], p["schedule"]
