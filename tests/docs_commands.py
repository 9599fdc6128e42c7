"""Every `attnc …` line that the documentation shows as a whole command is run, on the emulated
device, beside the tree's specs; each must end with 0.  The message that the README shows is
the one that is printed.

usage: docs_commands.py ROOT BIN_DIR LIB_DIR"""
import glob
import os
import re
import subprocess
import sys
import tempfile
import textwrap

COMMAND = re.compile(r"^(?:    |)((?:\w+=\S+ )*attnc [a-z].*)$")
PLACEHOLDER = re.compile(r"\b(SPEC|DIR|FILE|SHELL)\b|…|\bedited\.")


def commands(root):
    """(page, line, command) of each line of code that could be typed as it stands."""
    for path in [os.path.join(root, "README.md"), *sorted(glob.glob(f"{root}/docs/*.md"))]:
        fenced = False
        with open(path, encoding="utf-8") as page:
            for number, line in enumerate(page, 1):
                if line.startswith("```"):
                    fenced = not fenced
                found = COMMAND.match(line.rstrip())
                if found and (fenced or line.startswith("    ")):
                    if not PLACEHOLDER.search(found.group(1)):
                        yield os.path.relpath(path, root), number, found.group(1)


def wrong_message(root, folder, env):
    """None, or how the README's message differs from that of the spec it speaks of."""
    with open(os.path.join(root, "README.md"), encoding="utf-8") as page:
        shown = re.search(r"(?:^    .*\n)*^    bad\.attn\.yaml:.*\n(?:^    .*\n)*", page.read(), re.M)
    with open(f"{root}/specs/llama3_8b_prefill.attn.yaml", encoding="utf-8") as good, \
         open(os.path.join(folder, "bad.attn.yaml"), "w", encoding="utf-8") as bad:
        bad.write(good.read().replace("causal: true", "casual: true"))
    done = subprocess.run(["attnc", "check", "bad.attn.yaml"], cwd=folder, env=env, text=True,
                          stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode == 3 and shown and textwrap.dedent(shown.group(0)) in done.stderr:
        return None
    return f"README.md shows another message than this one, {done.returncode}:\n{done.stderr}"


def main():
    root, binaries, libraries = (os.path.abspath(p) for p in sys.argv[1:])
    failed = ran = left_out = 0
    with tempfile.TemporaryDirectory() as folder:
        os.symlink(os.path.join(root, "specs"), os.path.join(folder, "specs"))
        env = dict(os.environ, PATH=f"{binaries}:{os.environ['PATH']}",
                   ATTNC_LIBCUDA=os.path.join(libraries, "libattnc-emu.so"),
                   ATTNC_CACHE_DIR=os.path.join(folder, "cache"),
                   ATTNC_TUNE_DIR=os.path.join(folder, "tune"))
        wrong = wrong_message(root, folder, env)
        if wrong:
            sys.exit(wrong)
        for page, number, command in commands(root):
            ran += 1
            done = subprocess.run(["bash", "-c", command], cwd=folder, env=env, text=True,
                                  stdin=subprocess.DEVNULL, capture_output=True)
            print(f"{page}:{number}: {done.returncode}: {command}", flush=True)
            if "--sass" in command and done.returncode == 4 and "no ptxas" in done.stderr:
                left_out += 1  # where there is an assembler it is run
            elif done.returncode:
                failed += 1
                print(done.stdout[-2000:] + done.stderr[-2000:])
    if left_out:
        print(f"{left_out} commands need an assembler, which is not here")
    if failed or ran - left_out < 5:
        sys.exit(f"{failed} of {ran} commands failed; at least 5 were expected")


if __name__ == "__main__":
    main()
