"""Times on a GPU: subjects in turns, CUDA events, medians of many samples.

A sample is a few launches in a row between two events, so many that they take about SAMPLE_MS;
its time is theirs divided by their number.  Before it the device sleeps as long as the host
needs to enqueue them, so that the host is never what is measured.  Subjects take turns sample
by sample, and each round begins with another one.
"""
import contextlib
import math
import time

SAMPLE_MS, WARM_MS, MOST = 2.0, 20.0, 50
METHOD = (
    "Times: CUDA events around 1 to 50 launches in a row (about 2 ms), divided by their number; "
    "subjects take turns sample by sample in one process, on the same random-normal tensors; "
    "each is warmed up for 20 ms first.",
    "L2: nothing is flushed; a case's tensors are larger than the cache (64 MB each but for "
    "grouped heads), and a sample begins with what another subject left there.")


def turns(names, rounds):
    """[(round, name)]: every name once a round, each round beginning with the next one."""
    names = list(names)
    return [(r, names[(r + i) % len(names)]) for r in range(rounds) for i in range(len(names))]


def launches(ms):
    """How many launches of so many milliseconds make a sample."""
    return max(1, min(MOST, math.ceil(SAMPLE_MS / max(ms, 1e-4))))


class Timer:
    """On torch's current stream.  torch: the module, or what a test puts in its place."""

    def __init__(self, torch):
        self.torch, self.cuda = torch, torch.cuda

    def warm(self, call):
        """(milliseconds a launch takes, milliseconds the host needs for one), after a first
        launch and WARM_MS of others."""
        call()
        self.cuda.synchronize()
        start, n = time.perf_counter(), 0
        while n < 3 or 1e3 * (time.perf_counter() - start) < WARM_MS:
            call()
            n += 1
            if n % 8 == 0:
                self.cuda.synchronize()
        self.cuda.synchronize()
        start = time.perf_counter()
        call()
        host = 1e3 * (time.perf_counter() - start)
        self.cuda.synchronize()
        return self.sample(call, 3, host), host

    def sample(self, call, n, host):
        start, end = self.enqueue(call, n, host)
        self.cuda.synchronize()
        return start.elapsed_time(end) / n

    def enqueue(self, call, n, host):
        start, end = self.cuda.Event(enable_timing=True), self.cuda.Event(enable_timing=True)
        ahead = min(5.0, 1.5 * n * host + 0.05)      # ms
        self.cuda._sleep(int(ahead * 2e6))           # clocks, at 2 GHz
        start.record()
        for _ in range(n):
            call()
        end.record()
        return start, end

    def interleaved(self, calls, rounds):
        """{name: [ms]} of calls by name."""
        plan = {}
        for name, call in calls.items():
            ms, host = self.warm(call)
            plan[name] = (launches(ms), host)
        found = {name: [] for name in calls}
        for _, name in turns(calls, rounds):
            found[name].append(self.sample(calls[name], *plan[name]))
        return found

    def host_us(self, call, n=2000, batch=100):
        """Microseconds that the host spends on a launch: [of each batch].  A call's
        `around`, where it has one, is entered once, and `bare` is what is launched."""
        found, bare = [], getattr(call, "bare", call)
        with getattr(call, "around", contextlib.nullcontext)():
            for _ in range(n // batch):
                self.cuda.synchronize()
                start = time.perf_counter()
                for _ in range(batch):
                    bare()
                found.append(1e6 * (time.perf_counter() - start) / batch)
        self.cuda.synchronize()
        return found
