"""Builds attnc's wheel (PEP 517): the package and the shared libraries it loads.

    pip wheel --no-deps python                              # from a source tree
    pip wheel --no-deps python -C libraries=build/release/lib

The libraries are those of `libraries` or $ATTNC_LIBRARIES, else the portable folder
(scripts/build portable).  A portable folder, which scripts/portable-check passes, gives a
manylinux wheel; anything else is tagged for this machine's own Linux.  The same files give
the same bytes.  Python 3.11 or newer builds; 3.9 or newer installs.
"""
import base64
import hashlib
import os
import platform
import subprocess
import tomllib
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(HERE)
LIBRARIES = ("libattnc.so", "libattnc_rt.so.0", "libattnc_llvm.so", "libattnc-emu.so")
PORTABLE = os.path.join(TREE, "build", "portable", "attnc-portable")
INSTALLED = os.path.join(HERE, "attnc", "lib")  # a link to the libraries, where it was installed


def project():
    with open(os.path.join(HERE, "pyproject.toml"), "rb") as f:
        return tomllib.load(f)["project"]


def read(*path):
    with open(os.path.join(*path), "rb") as f:
        return f.read()


def library(folder, name):
    """Its path; the plugin of an installed attnc lies in a folder of its own."""
    path = os.path.join(folder, "attnc", name)
    return path if os.path.exists(path) else os.path.join(folder, name)


def library_folder(settings):
    folder = (settings or {}).get("libraries") or os.environ.get("ATTNC_LIBRARIES") or (
        INSTALLED if os.path.exists(INSTALLED) else PORTABLE)
    missing = [n for n in LIBRARIES if not os.path.exists(library(folder, n))]
    if missing:
        raise SystemExit(f"attnc: {folder} has no {', '.join(missing)}: build it "
                         "(scripts/build portable), or name the folder of the libraries "
                         "(-C libraries=FOLDER, $ATTNC_LIBRARIES)")
    return folder


def tag(folder):
    check = os.path.join(TREE, "scripts", "portable-check")
    portable = os.path.exists(os.path.join(folder, "attnc")) and subprocess.run(
        [check, folder], capture_output=True).returncode == 0
    return f"py3-none-{'manylinux_2_36' if portable else 'linux'}_{platform.machine()}"


def metadata(p):
    lines = ["Metadata-Version: 2.4", f"Name: {p['name']}", f"Version: {p['version']}",
             f"Summary: {p['description']}", f"License-Expression: {p['license']}",
             f"Keywords: {','.join(p['keywords'])}", f"Requires-Python: {p['requires-python']}",
             "Description-Content-Type: text/markdown", "License-File: LICENSE"]
    lines += [f"Classifier: {c}" for c in p["classifiers"]]
    for extra, needs in p["optional-dependencies"].items():
        lines += [f"Provides-Extra: {extra}"]
        lines += [f"Requires-Dist: {n}; extra == '{extra}'" for n in needs]
    return "\n".join(lines).encode() + b"\n\n" + read(HERE, p["readme"])


def entry_points(p):
    """What other packages find by name."""
    lines = []
    for group, names in p.get("entry-points", {}).items():
        lines += [f"[{group}]", *(f"{name} = {where}" for name, where in names.items()), ""]
    return "\n".join(lines).encode()


def licences(folder):
    """Ours, and those of what is inside the libraries of a portable folder."""
    found = {"LICENSE": read(TREE, "LICENSE")}
    theirs = os.path.join(folder, "licenses")
    for name in sorted(os.listdir(theirs)) if os.path.isdir(theirs) else ():
        found[f"{name}.txt"] = read(theirs, name)
    return found


def package(folder):
    source = os.path.join(HERE, "attnc")
    files = {f"attnc/{n}": read(source, n) for n in sorted(os.listdir(source))
             if n.endswith((".py", "py.typed"))}
    return files | {f"attnc/lib/{n}": read(library(folder, n)) for n in LIBRARIES}


def digest(data):
    raw = base64.urlsafe_b64encode(hashlib.sha256(data).digest())
    return "sha256=" + raw.rstrip(b"=").decode()


def write_wheel(directory, files, tag):
    p = project()
    info = f"{p['name']}-{p['version']}.dist-info"
    files = {n: d for n, d in files.items() if "/" in n} | {
        f"{info}/licenses/{n}": d for n, d in files.items() if "/" not in n} | {
        f"{info}/METADATA": metadata(p),
        f"{info}/entry_points.txt": entry_points(p),
        f"{info}/WHEEL": (f"Wheel-Version: 1.0\nGenerator: attnc backend\n"
                          f"Root-Is-Purelib: false\nTag: {tag}\n").encode()}
    record = [f"{name},{digest(data)},{len(data)}" for name, data in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    wheel = f"{p['name']}-{p['version']}-{tag}.whl"
    with zipfile.ZipFile(os.path.join(directory, wheel), "w", zipfile.ZIP_DEFLATED) as z:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name)  # of 1980: the same bytes whenever it is built
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o755 if ".so" in name else 0o644) << 16
            z.writestr(entry, data)
    return wheel


# ---- the hooks ----


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    folder = library_folder(config_settings)
    return write_wheel(wheel_directory, package(folder) | licences(folder), tag(folder))


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    """The source tree itself, which finds its libraries in build/."""
    files = {"LICENSE": read(TREE, "LICENSE")}
    p = project()
    files[f"{p['name']}-{p['version']}.data/purelib/attnc.pth"] = (HERE + "\n").encode()
    return write_wheel(wheel_directory, files, "py3-none-any")


def build_sdist(sdist_directory, config_settings=None):
    raise SystemExit("attnc: there is no source distribution of the Python package alone: the "
                     "libraries are built in the source tree, and a wheel is made from them")
