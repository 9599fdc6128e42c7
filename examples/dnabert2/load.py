"""Load for the service, from this machine alone:

    python load.py --url http://127.0.0.1:8000 [--requests 200] [--threads 4]
    python load.py --compare [-- arguments of service.py]

prints sequences a second, how long a request took, and the memory of the service before and after; --compare starts
the service with attnc and with standard attention, one after the other, on the same requests.
"""
import argparse
import http.client
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))


def requests_of(n, most, longest, seed=1):
    """n lists of 1 to `most` sequences of 10 to `longest` bases."""
    draw = random.Random(seed)
    return [["".join(draw.choices("ACGT", k=draw.randint(10, longest))) for _ in range(draw.randint(1, most))]
            for _ in range(n)]


class Client:
    """A connection that stays open."""

    def __init__(self, url):
        at = urllib.parse.urlsplit(url)
        self.connection = http.client.HTTPConnection(at.hostname, at.port, timeout=300)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def ask(self, method, path, body=None):
        self.connection.request(method, path, body and json.dumps(body), {"Content-Type": "application/json"})
        response = self.connection.getresponse()
        text = response.read().decode()
        if response.status != 200:
            raise RuntimeError(f"{method} {path}: {response.status} {text[:200]}")
        return text


def metrics(url):
    """{name with labels: number}"""
    with Client(url) as client:
        lines = client.ask("GET", "/metrics").splitlines()
    return {name: float(x) for name, x in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def run(url, requests, threads):
    """(seconds, [seconds of each request])."""
    waiting, took, failed = list(enumerate(requests)), [0.0] * len(requests), []

    def work():
        with Client(url) as client:
            while waiting and not failed:
                try:
                    index, sequences = waiting.pop()
                except IndexError:
                    return
                start = time.perf_counter()
                try:
                    found = json.loads(client.ask("POST", "/predict", {"sequences": sequences}))
                    if len(found["embeddings"]) != len(sequences):
                        raise RuntimeError(f"{len(found['embeddings'])} embeddings of {len(sequences)} sequences")
                except Exception as e:
                    failed.append(e)
                took[index] = time.perf_counter() - start

    start = time.perf_counter()
    workers = [threading.Thread(target=work) for _ in range(threads)]
    for x in workers:
        x.start()
    for x in workers:
        x.join()
    if failed:
        raise failed[0]
    return time.perf_counter() - start, took


def report(name, url, given):
    warm, requests = requests_of(8, given.sequences, given.longest, 0), requests_of(
        given.requests, given.sequences, given.longest)
    run(url, warm, given.threads)
    before = metrics(url)
    seconds, took = run(url, requests, given.threads)
    after = metrics(url)
    sequences, took = sum(len(r) for r in requests), sorted(took)
    memory = [x["process_resident_memory_bytes"] / 2 ** 20 for x in (before, after)]
    line = (f"{name:10} {sequences / seconds:9.1f} sequences/s, request median {took[len(took) // 2] * 1e3:.1f} ms, "
            f"99 % {took[int(len(took) * 0.99)] * 1e3:.1f} ms, memory {memory[0]:.0f} -> {memory[1]:.0f} MiB")
    if "dnabert2_gpu_memory_bytes" in after:
        line += f", GPU {after['dnabert2_gpu_memory_bytes'] / 2 ** 20:.0f} MiB"
    print(line, flush=True)


class Service:
    """The service as a process, on a free port of this machine."""

    def __init__(self, attention, arguments=()):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen([sys.executable, os.path.join(HERE, "service.py"), "--attention", attention,
                                         "--port", str(port), *arguments])

    def __enter__(self):
        for _ in range(600):
            if self.process.poll() is not None:
                raise RuntimeError(f"service.py ended with {self.process.returncode}")
            try:
                with Client(self.url) as client:
                    self.status = json.loads(client.ask("GET", "/status"))
                return self
            except OSError:
                time.sleep(0.2)
        raise RuntimeError("service.py does not answer")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url")
    parser.add_argument("--compare", action="store_true")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--sequences", type=int, default=4, help="of a request, at most")
    parser.add_argument("--longest", type=int, default=60, help="bases of a sequence, at most")
    parser.add_argument("service", nargs="*", help="arguments of service.py, behind --")
    given = parser.parse_args()
    if given.compare == bool(given.url):
        parser.error("one of --url and --compare is needed")
    if given.url:
        report("service", given.url, given)
        return
    for attention in ("attnc", "standard"):
        with Service(attention, given.service) as service:
            if attention == "attnc" and not service.status["flash_attention_enabled"]:
                raise RuntimeError(service.status["reason"])
            report(attention, service.url, given)


if __name__ == "__main__":
    main()
