"""DNABERT-2's call of attention replaced, on a look-alike of its layers (examples/dnabert2/lookalike.py: the model
itself would have to be downloaded), and the service of that example under load, on this machine's loopback."""
import asyncio
import json
import os
import subprocess
import sys

import common

torch = common.need("torch")
common.need("fastapi")
EXAMPLE = os.path.join(common.SOURCE, "examples", "dnabert2")
sys.path.insert(0, EXAMPLE)
os.environ["PYTHONPATH"] = os.path.join(common.SOURCE, "python")
import attnc.flash_attn_triton as triton
import load
import lookalike
import service

SEQUENCES = ["ACGTTGCA" * 3, "ACG", "TTTTGGGGCCCCAAAAN", "A" * 31]
WITHIN = 4e-3


def error(a, b):
    return (torch.tensor(a) - torch.tensor(b)).abs().max().item()


class Attention(common.Case):
    def test_replaced(self):
        """The same hidden states, by attnc's kernel; undone by restore."""
        model, tokenizer = lookalike.make()
        given = tokenizer(SEQUENCES)
        seen = given["attention_mask"].bool()
        with torch.no_grad():
            wanted, = model(**given)
            self.assertIn("is None", triton.why_not(model))
            done = triton.replace(model)
            self.addCleanup(done.restore)
            self.assertEqual((done.modules, triton.why_not(model)), (["lookalike"], ""))
            found, = model(**given)
            half, = model.half()(**given)
        done.restore()
        self.assertIsNone(lookalike.flash_attn_qkvpacked_func)
        self.assertLessEqual((found - wanted)[seen].abs().max().item(), WITHIN)
        self.assertTrue((found != wanted).any(), "attnc had no part in it")
        self.assertLessEqual((half.float() - wanted)[seen].abs().max().item(), 5 * WITHIN)

    def test_why_not(self):
        model, _ = lookalike.make(attention_probs_dropout_prob=0.1)
        done = triton.replace(model)
        self.addCleanup(done.restore)
        self.assertIn("layers.0.attention drops weights", triton.why_not(model))
        other = torch.nn.Linear(2, 2)
        self.assertIn("no layer of Linear", triton.why_not(other))
        self.raises(ValueError, "Linear", triton.replace, other)

    def test_functions(self):
        """Bias by every axis or few, three forms, causal from the first query on, gradients."""
        torch.manual_seed(1)
        q, k, v = (torch.randn(2, n, 4, 32).half().requires_grad_() for n in (19, 19, 19))
        for shape, dtype in (((2, 4, 19, 19), torch.float32), ((1, 4, 19, 19), torch.float16), ((2, 1, 1, 19), torch.float32)):
            bias = torch.randn(shape, dtype=torch.float32).to(dtype)
            with torch.no_grad():
                out = triton.flash_attn_func(q, k, v, bias, softmax_scale=0.2)
                packed = triton.flash_attn_qkvpacked_func(torch.stack((q, k, v), 2), bias, softmax_scale=0.2)
                pair = triton.flash_attn_kvpacked_func(q, torch.stack((k, v), 2), bias, False, 0.2)
                wanted = torch.nn.functional.scaled_dot_product_attention(
                    *(x.float().transpose(1, 2) for x in (q, k, v)), bias.float(), scale=0.2).transpose(1, 2)
            self.assertLessEqual((out - wanted).abs().max().item(), WITHIN)
            self.assertTrue(torch.equal(out, packed) and torch.equal(out, pair))
        triton.flash_attn_func(q, k, v, bias, causal=True).float().square().sum().backward()
        grads = [x.grad.float() for x in (q, k, v)]
        exact = [x.detach().float().requires_grad_() for x in (q, k, v)]
        scores = torch.einsum("bqhd,bkhd->bhqk", *exact[:2]) * 32 ** -0.5 + bias
        hidden = torch.ones(19, 19).triu(1).bool()
        weights = scores.masked_fill(hidden, -torch.inf).softmax(-1)
        torch.einsum("bhqk,bkhd->bqhd", weights, exact[2]).square().sum().backward()
        for a, b in zip(grads, exact):
            self.assertLessEqual((a - b.grad).abs().max().item(), 3e-2)
        self.raises(NotImplementedError, "no gradient", triton.flash_attn_func, q, k, v, bias.clone().requires_grad_())


def app_of(attention, **options):
    model, tokenizer = lookalike.make()
    return service.create_app(service.Embedder(model, tokenizer, attention=attention, **options))


def ask(app, *calls):
    """What the application answers, without a socket: (status, JSON or text) of each (method, path, body)."""
    import httpx

    async def run():
        found = []
        async with app.router.lifespan_context(app), httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://service") as client:
            for method, path, body in calls:
                answer = await client.request(method, path, json=body)
                json_ = "json" in answer.headers["content-type"]
                found.append((answer.status_code, answer.json() if json_ else answer.text))
        return found
    return asyncio.run(run())


class Service(common.Case):
    def setUp(self):
        self.threads = torch.get_num_threads()
        torch.set_num_threads(1)
        self.addCleanup(torch.set_num_threads, self.threads)
        self.addCleanup(setattr, lookalike, "flash_attn_qkvpacked_func", None)

    def test_embeddings(self):
        """attnc's are standard attention's, whatever else is in the batch, in the order of the request."""
        found = {}
        for attention in ("standard", "attnc"):
            (status, answer), (_, said) = ask(app_of(attention, max_batch=3), ("POST", "/predict", {"sequences": SEQUENCES}),
                                              ("GET", "/status", None))
            self.assertEqual((status, answer["tokens"]), (200, [len(s) + 2 for s in SEQUENCES]))
            self.assertEqual(said["flash_attention_enabled"], attention == "attnc")
            self.assertEqual(bool(said["reason"]), attention != "attnc")
            found[attention] = answer["embeddings"]
        self.assertLessEqual(error(found["attnc"], found["standard"]), WITHIN)
        alone = [ask(app_of("attnc"), ("POST", "/predict", {"sequences": [s]}))[0][1]["embeddings"][0] for s in SEQUENCES[:2]]
        self.assertLessEqual(error(alone, found["standard"][:2]), WITHIN)

    def test_bad_requests(self):
        app = app_of("standard")
        calls = [("POST", "/predict", body) for body in (
            {}, {"sequences": []}, {"sequences": ["ACX"]}, {"sequences": [""]}, {"sequences": ["A"] * 257},
            {"sequences": ["A" * 10001]}, {"sequences": "ACGT"})]
        found = ask(app, *calls, ("GET", "/nothing", None), ("GET", "/metrics", None))
        self.assertEqual([status for status, _ in found], [422] * 7 + [404, 200])
        self.assertIn("X", json.dumps(found[2][1]))
        self.assertIn('dnabert2_requests_total{path="/predict",status="422"} 7', found[-1][1])
        self.assertIn('dnabert2_requests_total{path="other",status="404"} 1', found[-1][1])
        self.assertIn("dnabert2_sequences_total 0", found[-1][1])

    def test_failure(self):
        """A model that fails is an answer, and the next request has its own."""
        model, tokenizer = lookalike.make()
        embedder = service.Embedder(model, tokenizer, attention="standard")
        run, calls = embedder.run, []

        def failing(sequences):
            calls.append(1)
            if len(calls) == 1:
                raise ValueError("out of memory")
            return run(sequences)

        embedder.run = failing
        found = ask(service.create_app(embedder), *[("POST", "/predict", {"sequences": ["ACGT"]})] * 2)
        self.assertEqual([status for status, _ in found], [500, 200])
        self.assertIn("out of memory", found[0][1]["detail"])

    def test_load(self):
        """1,000 requests after a warm-up: metrics add up, and memory does not grow."""
        os.environ["OMP_NUM_THREADS"] = "1"
        with load.Service("attnc") as at:
            self.assertTrue(at.status["flash_attention_enabled"], at.status)
            load.run(at.url, load.requests_of(300, 2, 14, seed=0), 2)
            before, requests = load.metrics(at.url), load.requests_of(1000, 2, 14)
            seconds, took = load.run(at.url, requests, 2)
            after = load.metrics(at.url)
        more = {name: x - before.get(name, 0) for name, x in after.items()}
        sequences = [s for r in requests for s in r]
        self.assertEqual(more['dnabert2_requests_total{path="/predict",status="200"}'], 1000)
        self.assertEqual(more["dnabert2_predict_seconds_count"], 1000)
        self.assertEqual(more['dnabert2_predict_seconds_bucket{le="+Inf"}'], 1000)
        self.assertLessEqual(more["dnabert2_predict_seconds_sum"], sum(took))
        self.assertGreaterEqual(more["dnabert2_predict_seconds_sum"], 0.2 * sum(took))
        self.assertEqual(more["dnabert2_sequences_total"], len(sequences))
        self.assertEqual(more["dnabert2_tokens_total"], sum(len(s) + 2 for s in sequences))
        self.assertGreaterEqual(more["dnabert2_padded_tokens_total"], more["dnabert2_tokens_total"])
        self.assertTrue(0 < more["dnabert2_batches_total"] <= 1000)
        self.assertEqual((after["dnabert2_in_flight"], after["dnabert2_flash_attention_enabled"]), (0, 1))
        grown = more["process_resident_memory_bytes"] / 2 ** 20
        print(f"{len(sequences) / seconds:.1f} sequences/s, {grown:.1f} MiB more of "
              f"{after['process_resident_memory_bytes'] / 2 ** 20:.0f}")
        self.assertLessEqual(grown, 8)

    def test_compare(self):
        """What the load generator prints."""
        done = subprocess.run([sys.executable, os.path.join(EXAMPLE, "load.py"), "--compare", "--requests", "6",
                               "--longest", "12", "--threads", "2"], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = done.stdout.splitlines()
        self.assertEqual([line.split()[0] for line in lines], ["attnc", "standard"])
        for line in lines:
            self.assertRegex(line, r"[\d.]+ sequences/s, .* memory \d+ -> \d+ MiB")


if __name__ == "__main__":
    common.main()
