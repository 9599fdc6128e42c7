"""Runs one shard of a long test: the same one for everybody at a commit, another one at the next.

    rotate.py N COMMAND …    COMMAND, with i/N in the place of each word `{shard}`
    rotate.py --self-test

i is HEAD's hash modulo N, 0 without git.  $ATTNC_TESTS overrides it: a number is the shard (modulo
N), `all` is the whole list, 0/1.  The first line that is printed repeats the run."""
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def head(root=ROOT):
    """The commit's hash; "0" where there is none."""
    try:
        said = subprocess.run(["git", "-C", root, "rev-parse", "HEAD"], capture_output=True,
                              text=True)
    except OSError:
        return "0"
    return said.stdout.strip() if said.returncode == 0 else "0"


def shard(n, wanted, commit):
    """i/n.  ValueError where `wanted`, the variable's text, is none of what it may be."""
    if wanted == "all":
        return "0/1"
    if wanted and not wanted.isdecimal():
        raise ValueError(f"ATTNC_TESTS is `all` or a number, not {wanted!r}")
    return f"{(int(wanted) if wanted else int(commit[:12], 16)) % n}/{n}"


def self_test():
    assert shard(10, "all", "ff") == "0/1"
    assert shard(10, "23", "ff") == "3/10"
    assert shard(10, "", "0000000000ffabc") == "5/10"
    assert shard(7, "", "0") == "0/7"
    assert head("/") == "0"
    assert {shard(10, "", f"{i:040x}"[28:]) for i in range(10)} == {f"{i}/10" for i in range(10)}
    for wrong in ("-1", "ALL", "1/2"):
        try:
            shard(10, wrong, "0")
        except ValueError:
            continue
        raise AssertionError(wrong)


def main(words):
    if words == ["--self-test"]:
        return self_test()
    if len(words) < 2 or not words[0].isdecimal() or "{shard}" not in words:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        mine = shard(int(words[0]), os.environ.get("ATTNC_TESTS", ""), head())
    except ValueError as e:
        print(e, file=sys.stderr)
        return 2
    command = [mine if word == "{shard}" else word for word in words[1:]]
    print(f"shard {mine}: {' '.join(command)}", flush=True)
    os.execvp(command[0], command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
