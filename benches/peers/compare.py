#!/usr/bin/env python3
"""Compares Cairn with LanceDB, tantivy + usearch, and SQLite (FTS5 + sqlite-vec) on the same texts and vectors.

README.md, in the same directory, describes what each time contains.
"""

import argparse
import gc
import json
import os
import platform
import random
import re
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

# First, because it reports packages that are missing.
from systems import STOP_WORDS, TOP, Cairn, Corpus, Glue, Kind, LanceDb, Query, Sqlite, System, plain  # isort: skip
import numpy as np

HYBRID, VECTOR = Kind("hybrid"), Kind("vector only", keyword=False)
KINDS = [HYBRID, Kind("keyword only", vector=False), VECTOR, Kind("hybrid, filter 10 %", share=10), Kind("hybrid, filter 50 %", share=50)]
CLIENTS = 8
WARM_UP = 30  # Untimed searches of each kind and system.
NO_SHARE = 1000  # Instead of the metadata field `share`, in chunks that have none.
PACKAGES = ["apsw", "lancedb", "numpy", "pyarrow", "sqlite-vec", "tantivy", "usearch"]


def run(*command: str) -> str:
    """Returns what a command printed; ends the program if the command failed."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed with exit code {done.returncode}")
    return done.stdout


def read_corpus(data: Path) -> Corpus:
    """Returns the chunks of the dataset `bench` with their vectors."""
    database = sqlite3.connect(f"file:{data / 'cairn.db'}?mode=ro", uri=True)
    (dataset, live, model) = database.execute("SELECT id, live_set, embedding_model FROM kb_datasets WHERE name = 'bench'").fetchone()
    sql = """SELECT c.id, c.context, c.content, json_extract(d.metadata, '$.share'), e.vector FROM kb_chunks c JOIN kb_documents d ON d.id = c.document_id
        JOIN kb_embeddings e ON e.text_hash = c.text_hash AND e.model = ? AND e.tenant_id = c.tenant_id WHERE c.set_id = ? ORDER BY c.id"""
    rows = database.execute(sql, (model, live)).fetchall()
    database.close()
    texts = [f"{context}\n\n{content}" if context else content for _, context, content, _, _ in rows]
    shares = np.array([NO_SHARE if share is None else share for _, _, _, share, _ in rows], dtype=np.int64)
    vectors = np.frombuffer(b"".join(row[4] for row in rows), dtype="<f4").reshape(len(rows), -1)
    return Corpus(dataset, [row[0] for row in rows], texts, shares, vectors)


def query_texts(corpus: Corpus, count: int) -> list[str]:
    """Returns the first eight words of sentences of the texts, in a fixed random order."""
    sentences = (part.split() for text in corpus.texts[:20_000] for part in re.split(r"\. |\n", text))
    found = sorted({" ".join(words[:8]) for words in sentences if len(words) > 5})
    found = [text for text in found if sum(word not in STOP_WORDS for word in plain(text).split()) > 1]
    if len(found) < count:
        sys.exit(f"the texts have only {len(found)} different queries")
    return random.Random(7).sample(found, count)


def serve(stack: ExitStack, binary: str, data: Path, corpus: Corpus) -> Cairn:
    """Starts a server, which ends with the stack, and returns a client whose key exists only in this data directory."""
    key = json.loads(run(binary, "--data-dir", str(data), "--json", "keys", "create", "--scope", "kb:*", "--name", "peers"))["key"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = stack.enter_context(open(data.parent / "serve.log", "w"))
    command = [binary, "--data-dir", str(data), "--set", "rate_per_minute=0", "serve", "--listen", f"127.0.0.1:{port}"]
    process = subprocess.Popen(command, stdout=log, stderr=log)
    stack.callback(lambda: (process.terminate(), process.wait(60)))
    for _ in range(600):
        try:
            cairn = Cairn(port, key, corpus)
            cairn.call("GET", "/readyz")
            break
        except (OSError, RuntimeError):
            if process.poll() is not None:
                sys.exit(f"cairn serve ended:\n{(data.parent / 'serve.log').read_text()}")
            time.sleep(0.2)
    else:
        sys.exit("cairn serve was not ready within two minutes")
    # The bench also ingests a dataset of notes, which the other systems do not have.
    datasets = cairn.call("GET", "/kb/v1/datasets")["data"]
    foreign = {item["name"] for item in datasets} - {"bench", "bench-notes"}
    if foreign:
        sys.exit(f"{data} is not a directory of cairn bench: it has the datasets {', '.join(sorted(foreign))}")
    for item in datasets:
        if item["id"] != corpus.dataset:
            cairn.call("DELETE", f"/kb/v1/datasets/{item['id']}")
    return cairn


def quantiles(times: list[float]) -> dict[str, float]:
    """Returns the median and the 95th percentile."""
    cuts = statistics.quantiles(times, n=20, method="inclusive")
    return {"p50Ms": cuts[9], "p95Ms": cuts[18]}


def measure(systems: list[System], queries: list[Query], kind: Kind, corpus: Corpus) -> dict[str, Any]:
    """Returns times and recall of each system: every query goes to all systems, in an order that rotates."""
    cairn = systems[0]
    for system in systems:
        for query in queries[:WARM_UP]:
            system.search(query, kind)
    cairn.inside.clear()
    times: dict[str, list[float]] = {system.name: [] for system in systems}
    recall, counts = dict.fromkeys(times, 0.0), dict.fromkeys(times, 0)
    for turn, query in enumerate(queries):
        first = turn % len(systems)
        found = {}
        for system in systems[first:] + systems[:first]:
            began = time.perf_counter()
            found[system.name] = system.search(query, kind)
            times[system.name].append((time.perf_counter() - began) * 1000)
        cosines = corpus.vectors @ query.vector
        limit = np.partition(cosines, -TOP)[-TOP] - 1e-5
        for name, hits in found.items():
            if kind.share is not None and any(corpus.shares[n] >= kind.share for n, _ in hits):
                raise RuntimeError(f"{name} returned a hit that the filter excludes")
            recall[name] += sum(cosines[n] >= limit for n, _ in hits) / TOP / len(queries)
            counts[name] += len(hits)
    result = {name: {**quantiles(each), "hits": counts[name] / len(queries)} for name, each in times.items()}
    result["cairn, inside server"] = quantiles(cairn.inside)
    for name, line in result.items():
        line["ratio"] = line["p50Ms"] / result["cairn"]["p50Ms"]
        if kind is VECTOR and name in recall:
            line["recallAt10"] = float(recall[name])
    return result


def throughput(systems: list[System], queries: list[Query]) -> dict[str, Any]:
    """Returns hybrid searches per second with several clients. The systems take turns with a third of the queries each time."""
    seconds = dict.fromkeys([system.name for system in systems], 0.0)
    for part in range(3):
        for system in systems[part:] + systems[:part]:
            with ThreadPoolExecutor(CLIENTS) as clients:
                search = partial(system.search, kind=HYBRID)
                list(clients.map(search, queries[: CLIENTS * 2]))  # Opens connections.
                began = time.perf_counter()
                list(clients.map(search, queries[part::3]))
                seconds[system.name] += time.perf_counter() - began
    rates = {name: len(queries) / each for name, each in seconds.items()}
    return {name: {"perSecond": rate, "ratio": rate / rates["cairn"]} for name, rate in rates.items()}


def compare(arguments: argparse.Namespace, stack: ExitStack) -> dict[str, Any]:
    """Returns all measurements."""
    load = os.getloadavg()
    work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cairn-peers-")))
    data = arguments.data or work / "bench"
    if not arguments.data:
        say("planting chunks with cairn bench")
        run(arguments.cairn, "--data-dir", str(work), "bench", "--chunks", str(arguments.chunks), "--searches", "10", "--keep")
    corpus = read_corpus(data)
    say("starting cairn, computing query vectors")
    cairn = serve(stack, arguments.cairn, data, corpus)
    texts = query_texts(corpus, arguments.queries)
    cairn.ask("/kb/v1/search", "a first query loads the model", cache=False)
    # Nothing has embedded these queries yet.
    timings = [cairn.ask("/kb/v1/search", text, cache=False, explain=True)["timings"]["embedMs"] for text in texts]
    queries = [Query(text, plain(text), cairn.vector(text, corpus)) for text in texts]
    systems: list[System] = [cairn]
    built = {}
    for system in (LanceDb, Glue, Sqlite):
        say(f"building {system.name}")
        began = time.perf_counter()
        systems.append(system(corpus, work / system.name))
        built[system.name] = time.perf_counter() - began
    cairn.reconnect()
    for system in systems:
        if system.rows() != {len(corpus.ids)}:
            sys.exit(f"{system.name} has {system.rows()} rows instead of {len(corpus.ids)}")
    gc.collect()
    gc.freeze()
    kinds = {}
    for kind in KINDS:
        say(f"measuring {kind.name}")
        kinds[kind.name] = measure(systems, queries, kind, corpus)
    say("measuring throughput")
    return {
        "cairn": run(arguments.cairn, "--version").strip(),
        "packages": {name: version(name) for name in PACKAGES},
        "machine": platform.platform(),
        "processors": os.cpu_count(),
        "rows": len(corpus.ids),
        "queries": len(queries),
        "kinds": kinds,
        "clients": throughput(systems, queries),
        "embedding": quantiles(timings),
        "buildSeconds": built,
        "loadAverage": {"start": load, "end": os.getloadavg()},
    }


def say(text: str) -> None:
    """Reports progress."""
    print(f"{text} …", file=sys.stderr, flush=True)


def show(result: dict[str, Any]) -> None:
    """Prints the measurements as tables."""
    print(f"{result['cairn']}; " + ", ".join(f"{name} {number}" for name, number in result["packages"].items()))
    print(f"{result['rows']} rows, {result['queries']} queries, {result['processors']} processors, {result['machine']}")
    for kind, lines in result["kinds"].items():
        print(f"\n{kind:<24} {'p50 ms':>8} {'p95 ms':>8} {'p50 / cairn':>12} {'recall@10' if kind == VECTOR.name else '':>10}")
        for name, line in lines.items():
            recall = f"{line['recallAt10']:.3f}" if "recallAt10" in line else ""
            print(f"  {name:<22} {line['p50Ms']:>8.2f} {line['p95Ms']:>8.2f} {line['ratio']:>12.2f} {recall:>10}")
    print(f"\n{f'hybrid, {CLIENTS} clients':<24} {'per s':>8} {'/ cairn':>8}")
    for name, line in result["clients"].items():
        print(f"  {name:<22} {line['perSecond']:>8.0f} {line['ratio']:>8.2f}")
    print("\nnot included above: preparing a query in cairn with its embedding, p50 {p50Ms:.2f} ms, p95 {p95Ms:.2f} ms".format(**result["embedding"]))
    print("building: " + ", ".join(f"{name} {seconds:.0f} s" for name, seconds in result["buildSeconds"].items()))
    for when, load in result["loadAverage"].items():
        print(f"load average at the {when}: " + " ".join(f"{value:.2f}" for value in load))


def main() -> None:
    """Reads the arguments, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cairn", help="path of the cairn binary")
    parser.add_argument("--chunks", type=int, default=100_000, help="chunks to search, at least 5000 (default: %(default)s)")
    parser.add_argument("--queries", type=int, default=300, help="queries of each kind (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="directory `bench` of an earlier `cairn bench --keep`, instead of planting")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    if arguments.chunks < 5000:
        parser.error("--chunks must be at least 5000")
    arguments.cairn = str(Path(arguments.cairn).resolve())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # So that the server ends, too.
    with ExitStack() as stack:
        result = compare(arguments, stack)
    if arguments.json:
        print(json.dumps(result))
    else:
        show(result)


if __name__ == "__main__":
    main()
