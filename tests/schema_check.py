"""The JSON Schema against the loader's verdicts: every spec of specs/ is valid, and most of
tests/bad/ are not.  (A schema sees values, not text: `010`, anchors or duplicate keys are
gone before it looks.)  Exits 77, which is "skipped", where jsonschema or PyYAML is missing.
"""
import json
import pathlib
import sys

try:
    import jsonschema
    import yaml
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

ROOT = pathlib.Path(__file__).resolve().parent.parent


def load(path):
    """The document as YAML readers see it, or None where it is no YAML."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return None


def main():
    schema = json.loads((ROOT / "schema/attention-spec-v1.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    validator = jsonschema.Draft7Validator(schema)
    failed = 0
    good = sorted((ROOT / "specs").glob("*.attn.yaml"))
    for path in good:
        for error in validator.iter_errors(load(path)):
            print(f"{path.name}: {error.message}")
            failed += 1
    # What an expression says is text to a schema.
    bad = sorted(p for p in (ROOT / "tests/bad").glob("*.attn.yaml")
                 if not p.name.startswith("expr_"))
    refused = [p for p in bad if load(p) is None or not validator.is_valid(load(p))]
    print(f"{len(good)} specs are valid, {len(refused)} of {len(bad)} bad ones are not")
    if len(refused) < 0.75 * len(bad):
        print("the schema lets too many bad specs pass:")
        print("\n".join(sorted(p.name for p in set(bad) - set(refused))))
        failed += 1
    return 1 if failed or not good else 0


if __name__ == "__main__":
    sys.exit(main())
