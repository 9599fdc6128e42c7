"""Packs: made twice the same, refused with any byte changed, signed by minisign, and launched from
by libattnc_rt alone: on the emulator, and on the driver that records, which gets a cubin's bytes
and no PTX.

Needs $RT and $STUB, the libraries, $EMU, $BUNDLE, the program of examples/bundle.c."""
import ctypes as C
import ctypes.util
import base64
import hashlib
import json
import os
import shutil
import subprocess
import unittest

from common import SOURCE, Case, main

RT, STUB, EMU, BUNDLE = (os.environ[n] for n in ("RT", "STUB", "EMU", "BUNDLE"))
LLAMA = os.path.join(SOURCE, "specs", "llama3_8b_prefill.attn.yaml")
GPT2 = os.path.join(SOURCE, "specs", "gpt2.attn.yaml")
PTXAS = shutil.which("ptxas") or os.path.exists("/usr/local/cuda/bin/ptxas")
OK, ERR_USAGE, ERR_IO = 0, 1, 11


class Error(C.Structure):
    _fields_ = [("status", C.c_int), ("driver_code", C.c_int), ("message", C.c_char * 504)]


class Driver:
    """libattnc_rt on the stub, in this process."""

    def __init__(self):
        os.environ["ATTNC_LIBCUDA"] = STUB
        self.stub = C.CDLL(STUB, mode=C.RTLD_GLOBAL)
        self.stub.stub_image_at.restype = C.c_void_p
        self.rt = C.CDLL(RT)
        self.rt.attnc_plan_json.restype = C.c_char_p

    def images(self):
        n, found = C.c_size_t(), []
        while (at := self.stub.stub_image_at(len(found), C.byref(n))):
            found.append(C.string_at(at, n.value))
        return found

    def plan(self, open_bundle, name="causal"):
        """(status, message or the plan's JSON, the images that the driver was given)"""
        self.stub.stub_reset()
        bundle, plan, e = C.c_void_p(), C.c_void_p(), Error()
        status = open_bundle(C.byref(bundle), C.byref(e))
        if status == OK:
            status = self.rt.attnc_bundle_plan(bundle, name.encode(), C.byref(plan), C.byref(e))
        text = self.rt.attnc_plan_json(plan).decode() if status == OK else e.message.decode()
        self.rt.attnc_plan_release(plan)
        self.rt.attnc_bundle_release(bundle)
        return status, text, self.images()

    def from_path(self, path, **how):
        return self.plan(lambda b, e: self.rt.attnc_bundle_open(path.encode(), b, e), **how)

    def from_memory(self, data, **how):
        return self.plan(lambda b, e: self.rt.attnc_bundle_open_memory(
            data, C.c_size_t(len(data)), b, e), **how)


class Packs(Case):
    @classmethod
    def setUpClass(cls):
        cls.driver = Driver()

    def pack(self, *args, name="a.attncpack", code=0, specs=None):
        r = self.attnc("pack", "create", *(specs or [self.spec()]), "-o", self.path(name), *args,
                       code=code)
        return r if code else self.read(name)

    # ---- the bytes ----

    def test_made_twice(self):
        """The same bytes, whatever the order of specs and the folder."""
        one = self.pack("--arch", "sm_80,sm_90a", specs=[LLAMA, GPT2])
        os.mkdir(self.path("other"))
        two = self.pack("--arch", "sm_90a,sm_80", specs=[GPT2, LLAMA], name="other/b")
        self.assertEqual(one, two)

    def test_changed_bytes(self):
        data = self.pack("--arch", "sm_80", "--emit", "ptx")
        self.assertEqual(self.driver.from_memory(data)[0], OK)
        at = [*range(0, 400), *range(400, len(data), 211), len(data) - 1]
        for i in at:
            bad = bytearray(data)
            bad[i] ^= 1 << i % 8
            status, text, images = self.driver.from_memory(bytes(bad))
            self.assertEqual((status, images), (ERR_IO, []), f"byte {i}: {text}")
        for i in (0, 7, 64, len(data) - 64, len(data) - 1):
            self.assertEqual(self.driver.from_memory(data[:i])[0], ERR_IO)
        self.assertEqual(self.driver.from_memory(data + bytes(64))[0], ERR_IO)
        self.write("bad", bytes(bad))
        self.assertIn("checksum", self.attnc("pack", "verify", self.path("bad"), code=8).stderr)
        self.assertIn("checksum", self.driver.from_path(self.path("bad"))[1])

    def test_pointers(self):
        """NULLs, and memory that is no pack: refused, and nothing is opened."""
        rt, bundle, e = self.driver.rt, C.c_void_p(), Error()
        for pack, out in ((None, C.byref(bundle)), (b"attncP1\n", None)):
            self.assertEqual(rt.attnc_bundle_open_memory(pack, C.c_size_t(8), out, C.byref(e)),
                             ERR_USAGE)
        for data in (b"", b"attncP1", b"attncP1\n", b"attncP1\n" + bytes(56), b"\x7fELF" * 64):
            status, text, images = self.driver.from_memory(data)
            self.assertEqual((status, images), (ERR_IO, []), text)

    def test_looked_into(self):
        self.pack("--arch", "sm_80", "--emit", "ptx")
        files = self.json("pack", "ls", self.path("a.attncpack"))["files"]
        self.assertEqual([f["name"] for f in files], ["causal.sm_80.json", "causal.sm_80.ptx"])
        self.attnc("pack", "unpack", self.path("a.attncpack"), "-o", self.path("out"))
        for f in files:
            data = self.read(f"out/{f['name']}")
            self.assertEqual((len(data), hashlib.sha256(data).hexdigest()),
                             (f["bytes"], f["sha256"]))
        subprocess.run(["sha256sum", "-c", "--quiet", "MANIFEST.sha256"], cwd=self.path("out"),
                       check=True)
        status, text, _ = self.driver.from_path(self.path("out"))
        self.assertEqual(status, OK, text)

    def test_usage(self):
        for args, words in ((["create", self.spec()], "--arch"),
                            (["create", self.spec(), "--arch", "sm_80", "-o", "x", "--emit", "ll"],
                             "ptx,cubin"),
                            (["create", self.spec(), self.spec(), "--arch", "sm_80", "-o", "x"],
                             "another spec"),
                            (["unpack", self.spec()], "-o DIR"),
                            (["verify", "a", "b"], "one pack"),
                            (["create", self.spec(), "--arch", "sm_80", "-o", "x", "--device",
                              self.write("d.json", "{}")], "device dump")):
            self.assertIn(words, self.attnc("pack", *args, code=2).stderr)
        self.assertIn("not a pack", self.attnc("pack", "ls", self.spec(), code=8).stderr)

    # ---- signatures ----

    def sodium(self):
        name = ctypes.util.find_library("sodium")
        if not name:
            self.skipTest("no libsodium")
        return C.CDLL(name)

    def keys(self, sodium, number):
        public, secret = C.create_string_buffer(32), C.create_string_buffer(64)
        sodium.crypto_sign_keypair(public, secret)
        ident = bytes([number] * 8)
        text = base64.b64encode(b"Ed" + ident + public.raw).decode()
        self.write(f"{number}.pub", f"untrusted comment: minisign public key\n{text}\n")
        return ident, secret, text

    def signed(self, sodium, keys, data, name):
        """As minisign -S writes it."""
        ident, secret, _ = keys

        def sign(message):
            out = C.create_string_buffer(64)
            sodium.crypto_sign_detached(out, None, message, C.c_ulonglong(len(message)), secret)
            return out.raw

        own = sign(hashlib.blake2b(data).digest())
        comment = "made for a test"
        lines = ["untrusted comment: signature", base64.b64encode(b"ED" + ident + own).decode(),
                 "trusted comment: " + comment,
                 base64.b64encode(sign(own + comment.encode())).decode()]
        return self.write(name, "\n".join(lines) + "\n")

    def test_signatures(self):
        sodium = self.sodium()
        mine, other = self.keys(sodium, 1), self.keys(sodium, 2)
        data = self.pack("--arch", "sm_80", "--emit", "ptx")
        pack, verify = self.path("a.attncpack"), lambda *args, code=0: self.attnc(
            "pack", "verify", self.path("a.attncpack"), *args, code=code)
        self.signed(sodium, mine, data, "a.attncpack.minisig")
        self.assertIn("signed: made for a test", verify("--public-key", mine[2]).stdout)
        verify("--public-key", self.path("1.pub"))
        self.assertIn("another key", verify("--public-key", other[2], code=1).stderr)
        false = self.signed(sodium, (mine[0], other[1], ""), data, "false")
        self.assertIn("signature is wrong", verify("--public-key", mine[2], "--signature", false,
                                                   code=1).stderr)
        text = self.read("a.attncpack.minisig").decode()
        self.write("comment", text.replace("for a test", "for a toast"))
        verify("--public-key", mine[2], "--signature", self.path("comment"), code=1)
        self.write("none", "nothing\n")
        verify("--public-key", mine[2], "--signature", self.path("none"), code=1)
        verify("--public-key", "rubbish", code=8)
        verify("--signature", self.path("none"), code=2)
        self.pack("--arch", "sm_75,sm_80", "--emit", "ptx")
        self.assertIn("signature is wrong", verify("--public-key", mine[2], code=1).stderr)
        self.assertEqual(self.read("a.attncpack")[:8], b"attncP1\n")
        self.assertTrue(os.path.exists(pack))

    def test_minisign_itself(self):
        if not shutil.which("minisign"):
            self.skipTest("no minisign")
        self.sodium()
        self.pack("--arch", "sm_80", "--emit", "ptx")
        run = lambda *args: subprocess.run(["minisign", *args], cwd=self.dir, check=True,
                                           capture_output=True, stdin=subprocess.DEVNULL)
        run("-G", "-W", "-p", "k.pub", "-s", "k.key")
        run("-S", "-s", "k.key", "-m", "a.attncpack", "-t", "of minisign")
        out = self.attnc("pack", "verify", self.path("a.attncpack"), "--public-key",
                         self.path("k.pub")).stdout
        self.assertIn("signed: of minisign", out)

    # ---- launching ----

    def test_runs_without_llvm(self):
        """libattnc_rt, jansson, the emulator: what the loader opens has no more of ours."""
        self.pack("--arch", "sm_80,sm_90a", specs=[LLAMA])
        os.mkdir(self.path("lib"))
        for library in (RT, EMU):
            shutil.copy(library, self.path("lib"))
        shutil.copy(BUNDLE, self.path("bundle"))
        for arch in ("sm_80", "sm_90a"):
            r = subprocess.run([self.path("bundle"), self.path("a.attncpack"),
                                "llama3_8b_prefill"], capture_output=True, text=True, cwd=self.dir,
                               env={"LD_LIBRARY_PATH": self.path("lib"), "LD_DEBUG": "libs",
                                    "ATTNC_LIBCUDA": self.path("lib/libattnc-emu.so"),
                                    "ATTNC_EMU": f"arch={arch}"})
            self.assertIn("98304 of 98304 values are 1: PASS", r.stdout, r.stderr[-2000:])
            opened = {line.split()[-1] for line in r.stderr.splitlines() if "calling init" in line}
            names = {os.path.basename(path).split(".so")[0] for path in opened}
            self.assertIn("libattnc_rt", names)
            self.assertEqual(names & {"libattnc", "libattnc_llvm", "libyaml-0"}, set())
            self.assertFalse([n for n in names if "LLVM" in n])

    @unittest.skipUnless(PTXAS, "no ptxas")
    def test_a_cubin_alone(self):
        """The driver is given the cubin's bytes and never PTX; what cannot take it is told."""
        data = self.pack("--arch", "sm_80", "--emit", "cubin")
        self.attnc("pack", "unpack", self.path("a.attncpack"), "-o", self.path("out"))
        cubin = self.read("out/causal.sm_80.cubin")
        self.assertNotIn(b".visible .entry", data)
        for status, text, images in (self.driver.from_memory(data),
                                     self.driver.from_path(self.path("a.attncpack")),
                                     self.driver.from_path(self.path("out"))):
            self.assertEqual(status, OK, text)
            self.assertEqual([len(i) for i in images], [len(cubin)])
            self.assertEqual(images, [cubin])
            self.assertIn('"image": "cubin"', text)
            self.assertIn('"assembler": "ptxas release', text)
        for cc, fits in ((86, True), (89, True), (90, False), (75, False)):
            status, text, images = self.at(cc, data)
            self.assertEqual(status == OK, fits, text)
        self.assertIn("does not run", self.at(90, data)[1])
        r = subprocess.run([BUNDLE, self.path("a.attncpack"), "causal"], capture_output=True,
                           text=True, env={**self.env, "ATTNC_LIBCUDA": EMU})
        self.assertIn("no PTX", r.stderr)

    def at(self, cc, data):
        stub, real = self.driver.stub, self.driver.stub.stub_reset
        bundle = lambda b, e: (stub.stub_cc(0, cc),
                               self.driver.rt.attnc_bundle_open_memory(data, C.c_size_t(len(data)), b, e))[1]
        real()
        return self.driver.plan(bundle)

    @unittest.skipUnless(PTXAS, "no ptxas")
    def test_a_cubin_and_ptx(self):
        """The cubin where the device takes it; PTX elsewhere, and where the driver refuses it."""
        data = self.pack("--arch", "sm_80", "--emit", "ptx,cubin")
        self.assertEqual(self.driver.from_memory(data)[2][0][:4], b"\x7fELF")
        status, text, images = self.at(90, data)
        self.assertEqual((status, images[0][:2]), (OK, b"//"))
        self.assertIn('"image": "ptx"', text)
        refuse = lambda b, e: (self.driver.stub.stub_fail(b"cuModuleLoadDataEx", 1, 209),
                               self.driver.rt.attnc_bundle_open_memory(data, C.c_size_t(len(data)), b, e))[1]
        status, text, images = self.driver.plan(refuse)
        self.assertEqual((status, len(images)), (OK, 1), text)
        self.assertIn("CUDA_ERROR_NO_BINARY_FOR_GPU", text)
        self.assertIn('"image": "ptx"', text)
        # A cubin that is not its recipe's.
        self.attnc("pack", "unpack", self.path("a.attncpack"), "-o", self.path("out"))
        self.write("out/causal.sm_80.cubin", b"\x7fELF" + bytes(60))
        names = sorted(n for n in os.listdir(self.path("out")) if "causal" in n)
        self.write("out/MANIFEST.sha256", "".join(
            f"{hashlib.sha256(self.read('out/' + n)).hexdigest()}  {n}\n" for n in names))
        status, text, images = self.driver.from_path(self.path("out"))
        self.assertEqual((status, images), (ERR_IO, []))
        self.assertIn("is not the cubin that causal.sm_80.json was made with", text)

    @unittest.skipUnless(PTXAS, "no ptxas")
    def test_c_with_a_cubin(self):
        """C that has a cubin alone gives it to the driver; beside PTX it is the first."""
        header = ('#include "abi/cuda.h"\n#define X(need, name, args) CUresult name args;\n'
                  "CUDA_ENTRY_TABLE(X)\n#undef X\n")
        self.write("cuda.h", header)
        stub = self.driver.stub
        context = C.c_void_p()
        for emit, has_ptx in (("c,cubin", False), ("c,cubin,ptx", True)):
            self.attnc("compile", self.spec(), "--arch", "sm_80", "-o", self.path(emit), "--emit",
                       emit)
            source = self.read(f"{emit}/causal.c")
            self.assertEqual(b".visible .entry" in source, has_ptx)
            library = self.path(f"{emit}/causal.so")
            subprocess.run([os.environ.get("CC", "cc"), "-std=gnu11", "-Wall", "-Wextra", "-Werror",
                            "-shared", "-fPIC", "-I", self.dir, "-I", SOURCE, "-o", library,
                            self.path(f"{emit}/causal.c")], check=True)
            stub.stub_reset()
            stub.cuInit(0)
            stub.cuDevicePrimaryCtxRetain(C.byref(context), 0)
            stub.cuCtxPushCurrent_v2(context)
            kernel = C.create_string_buffer(256)
            code = C.CDLL(library)
            self.assertEqual(code.causal_load(kernel), 0)
            self.assertEqual(self.driver.images(), [self.read(f"{emit}/causal.sm_80.cubin")])
            code.causal_unload(kernel)
            stub.stub_reset()
            stub.stub_cc(0, 90)
            self.assertEqual(code.causal_load(kernel), 0 if has_ptx else 209)
            if has_ptx:
                code.causal_unload(kernel)
                self.assertEqual(self.driver.images()[0][:2], b"//")
            stub.cuCtxPopCurrent_v2(C.byref(context))

    # ---- of another device ----

    def test_the_table_of_a_device(self):
        """What was tuned for a device decides what is packed for it, and comes along."""
        shape = ["--shape", "b1 h2/1 s64"]
        self.attnc("tune", self.spec(), *shape, "--device", "emu", "--arch", "sm_80", "--top", "3")
        device = self.attnc("device", "dump", "--device", "emu").stdout
        self.write("emu.json", device)
        pinned = self.json("key", self.spec(), *shape, "--device", "emu", "--explain")
        self.assertEqual(pinned["source"], "exact")
        self.pack("--arch", "sm_80", "--emit", "ptx", *shape, "--device", self.path("emu.json"))
        self.attnc("pack", "unpack", self.path("a.attncpack"), "-o", self.path("out"))
        recipe = json.loads(self.read("out/causal.sm_80.json"))
        got = {"template": recipe["template"], **recipe["schedule"]}
        want = {k: v for k, v in pinned["schedule"].items() if k in got}
        self.assertEqual({k: got[k] for k in want}, want)
        self.assertEqual(self.read("out/tune.jsonl").decode(),
                         self.attnc("tune", "export").stdout)


if __name__ == "__main__":
    main()
