"""Embeddings of DNA by DNABERT-2, with its attention by attnc:

    python service.py [--model zhihan1996/DNABERT-2-117M] [--attention attnc|standard] [--port 8000]

    POST /predict   {"sequences": ["ACGT…", …]}: {"embeddings": [[…], …], "tokens": […]}
    GET /status     {"flash_attention_enabled": true, "reason": "", …}
    GET /metrics    for Prometheus

Sequences of requests that come together are computed together: a worker takes what waits, sorts it by length and runs
batches of at most --max-batch, padded to their longest.  An embedding is the mean over a sequence's tokens.
"""
import argparse
import asyncio
import concurrent.futures
import contextlib
import os
import threading
import time

import torch
from fastapi import FastAPI, HTTPException, Request, Response
from pydantic import BaseModel, Field, field_validator

LOOKALIKE = "lookalike"
MOST_SEQUENCES, LONGEST = 256, 10000  # of a request
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


# ---- what is computed ----


class Embedder:
    """A model and its tokenizer; one batch at a time."""

    def __init__(self, model, tokenizer, name=LOOKALIKE, attention="attnc", max_batch=32, device="cpu"):
        self.model, self.tokenizer, self.name = model.to(device).eval(), tokenizer, name
        self.attention, self.max_batch, self.device = attention, max_batch, device
        self.replaced = None
        if attention == "attnc":
            import attnc.flash_attn_triton
            self.replaced = attnc.flash_attn_triton.replace(model)

    def why_not(self):
        """Why attnc does not compute attention; empty: it does."""
        if self.attention != "attnc":
            return f"--attention {self.attention} was asked for"
        import attnc.flash_attn_triton
        return attnc.flash_attn_triton.why_not(self.model)

    def batches(self, sequences):
        """Indices of each batch: sequences of like length together, since the others are padded to the longest."""
        order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
        return [order[i:i + self.max_batch] for i in range(0, len(order), self.max_batch)]

    @torch.no_grad()
    def run(self, sequences):
        """(embeddings, tokens of each, tokens that were computed with padding, batches)."""
        found, tokens, computed = [None] * len(sequences), [0] * len(sequences), 0
        batches = self.batches(sequences)
        for batch in batches:
            given = self.tokenizer([sequences[i] for i in batch], padding=True, return_tensors="pt")
            ids, mask = (given[n].to(self.device) for n in ("input_ids", "attention_mask"))
            hidden = self.model(input_ids=ids, attention_mask=mask)[0].float()
            lengths = mask.sum(1)
            means = (hidden * mask[..., None]).sum(1) / lengths[:, None]
            computed += mask.numel()
            for i, row, n in zip(batch, means.tolist(), lengths.tolist()):
                found[i], tokens[i] = row, n
        return found, tokens, computed, len(batches)

    def close(self):
        if self.replaced:
            self.replaced.restore()


class Worker:
    """Computes what requests wait for, as much as there is at a time, in a thread of its own."""

    def __init__(self, embedder, metrics):
        self.embedder, self.metrics, self.waiting = embedder, metrics, asyncio.Queue()
        self.thread = concurrent.futures.ThreadPoolExecutor(1)  # attnc keeps prepared launches for each thread

    async def embed(self, sequences):
        answer = asyncio.get_running_loop().create_future()
        await self.waiting.put((sequences, answer))
        return await answer

    async def run(self):
        while True:
            jobs = [await self.waiting.get()]
            while not self.waiting.empty() and sum(len(s) for s, _ in jobs) < self.embedder.max_batch:
                jobs.append(self.waiting.get_nowait())
            try:
                sequences = [s for job, _ in jobs for s in job]
                embeddings, tokens, computed, batches = await asyncio.get_running_loop().run_in_executor(
                    self.thread, self.embedder.run, sequences)
                self.metrics.computed(len(sequences), sum(tokens), computed, batches)
                self.answer(jobs, embeddings, tokens)
            except Exception as e:  # a request's answer, not this worker's end
                for _, answer in jobs:
                    if not answer.done():
                        answer.set_exception(RuntimeError(f"{type(e).__name__}: {e}"))

    @staticmethod
    def answer(jobs, embeddings, tokens):
        at = 0
        for sequences, answer in jobs:
            until = at + len(sequences)
            if not answer.done():  # the caller may be gone
                answer.set_result((embeddings[at:until], tokens[at:until]))
            at = until


# ---- metrics ----


def resident_bytes():
    with open("/proc/self/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Metrics:
    """Counters of a process, as Prometheus reads them."""

    HELP = {
        "dnabert2_requests_total": ("counter", "Requests that were answered, by path and status."),
        "dnabert2_sequences_total": ("counter", "Sequences that were embedded."),
        "dnabert2_tokens_total": ("counter", "Their tokens."),
        "dnabert2_padded_tokens_total": ("counter", "Tokens of batches, with padding."),
        "dnabert2_batches_total": ("counter", "Batches that were computed."),
        "dnabert2_predict_seconds": ("histogram", "Seconds of a request for embeddings that was answered with 200."),
        "dnabert2_in_flight": ("gauge", "Requests for embeddings that are being answered."),
        "dnabert2_flash_attention_enabled": ("gauge", "1: attnc computes attention."),
        "process_resident_memory_bytes": ("gauge", "Memory of the process."),
        "dnabert2_gpu_memory_bytes": ("gauge", "Most memory of the GPU that tensors had."),
    }

    def __init__(self):
        self.lock, self.values = threading.Lock(), {}
        self.computed(0, 0, 0, 0)
        self.add("dnabert2_in_flight", 0)
        for bound in (*SECONDS, "+Inf"):
            self.add("dnabert2_predict_seconds_bucket", 0, le=str(bound))
        for name in ("sum", "count"):
            self.add(f"dnabert2_predict_seconds_{name}", 0)

    def add(self, name, by=1, **labels):
        with self.lock:
            key = name, tuple(labels.items())
            self.values[key] = self.values.get(key, 0) + by

    def computed(self, sequences, tokens, padded, batches):
        for name, n in (("sequences", sequences), ("tokens", tokens), ("padded_tokens", padded), ("batches", batches)):
            self.add(f"dnabert2_{name}_total", n)

    def predicted(self, seconds):
        for bound in (*SECONDS, "+Inf"):
            if bound == "+Inf" or seconds <= bound:
                self.add("dnabert2_predict_seconds_bucket", 1, le=str(bound))
        self.add("dnabert2_predict_seconds_sum", seconds)
        self.add("dnabert2_predict_seconds_count")

    def text(self, **gauges):
        with self.lock:
            values = {**self.values, **{(name, ()): x for name, x in gauges.items()}}
        lines = []
        for name, (kind, help_) in self.HELP.items():
            lines += [f"# HELP {name} {help_}", f"# TYPE {name} {kind}"]
            for (found, labels), x in values.items():
                if found == name or (kind == "histogram" and found.startswith(f"{name}_")):
                    said = ",".join(f'{n}="{v}"' for n, v in labels)
                    lines.append(f"{found}{{{said}}} {x}" if said else f"{found} {x}")
        return "\n".join(lines) + "\n"


# ---- the service ----


class Sequences(BaseModel):
    sequences: list[str] = Field(min_length=1, max_length=MOST_SEQUENCES)

    @field_validator("sequences")
    @classmethod
    def of_bases(cls, sequences):
        for i, sequence in enumerate(sequences):
            if not 0 < len(sequence) <= LONGEST:
                raise ValueError(f"sequence {i} has {len(sequence)} bases: 1 to {LONGEST} are needed")
            if set(sequence) - set("ACGTN"):
                raise ValueError(f"sequence {i} has {sorted(set(sequence) - set('ACGTN'))}: A, C, G, T and N are bases")
        return sequences


def create_app(embedder):
    metrics = Metrics()

    @contextlib.asynccontextmanager
    async def lifespan(app):
        app.state.worker = Worker(embedder, metrics)
        task = asyncio.create_task(app.state.worker.run())
        yield
        task.cancel()

    app = FastAPI(title="DNABERT-2 by attnc", lifespan=lifespan)

    @app.middleware("http")
    async def count(request: Request, call_next):
        """Of paths that there are; others would be as many as callers think of."""
        known = request.url.path in ("/predict", "/status", "/metrics")
        path, predicting, start = request.url.path if known else "other", request.url.path == "/predict", time.perf_counter()
        status = 500
        if predicting:
            metrics.add("dnabert2_in_flight")
        try:
            response = await call_next(request)
            status = response.status_code
            return response
        finally:
            metrics.add("dnabert2_requests_total", path=path, status=status)
            if predicting:
                metrics.add("dnabert2_in_flight", -1)
                if status == 200:
                    metrics.predicted(time.perf_counter() - start)

    @app.post("/predict")
    async def predict(given: Sequences):
        try:
            embeddings, tokens = await app.state.worker.embed(given.sequences)
        except RuntimeError as e:
            raise HTTPException(500, str(e)) from e
        return {"embeddings": embeddings, "tokens": tokens}

    @app.get("/status")
    async def status():
        reason = embedder.why_not()
        return {"flash_attention_enabled": not reason, "reason": reason, "model": embedder.name,
                "device": str(embedder.device), "max_batch": embedder.max_batch, "attnc": version()}

    @app.get("/metrics")
    async def read():
        gauges = {"process_resident_memory_bytes": resident_bytes(),
                  "dnabert2_flash_attention_enabled": int(not embedder.why_not())}
        if str(embedder.device).startswith("cuda"):
            gauges["dnabert2_gpu_memory_bytes"] = torch.cuda.max_memory_allocated(embedder.device)
        return Response(metrics.text(**gauges), media_type="text/plain; version=0.0.4; charset=utf-8")

    return app


def version():
    import attnc
    return attnc.__version__


def load(name):
    """(model, tokenizer)."""
    if name == LOOKALIKE:
        import lookalike
        return lookalike.make()
    from transformers import AutoModel, AutoTokenizer
    return (AutoModel.from_pretrained(name, trust_remote_code=True),
            AutoTokenizer.from_pretrained(name, trust_remote_code=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=LOOKALIKE, help="of the hub, or a folder; lookalike: small and at random")
    parser.add_argument("--attention", choices=("attnc", "standard"), default="attnc")
    parser.add_argument("--max-batch", type=int, default=32)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--half", action="store_true", help="the model in float16, not attention alone")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    given = parser.parse_args()
    import uvicorn
    model, tokenizer = load(given.model)
    embedder = Embedder(model.half() if given.half else model, tokenizer, given.model, given.attention, given.max_batch,
                        given.device)
    uvicorn.run(create_app(embedder), host=given.host, port=given.port, log_level="warning")


if __name__ == "__main__":
    main()
