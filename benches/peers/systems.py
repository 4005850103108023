"""The systems that compare.py compares: each indexes the same rows and answers the same queries."""

import http.client
import json
import os
import re
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

# LanceDB reads these when it is imported. With the one thread that it chooses on two processors, searches were seen to wait for seconds; and it would write a
# warning about a coming change for each search.
os.environ.setdefault("LANCE_CPU_THREADS", str(max(2, os.cpu_count() or 2)))
os.environ.setdefault("LANCEDB_LOG", "error")
try:
    import apsw
    import lancedb
    import numpy as np
    import pyarrow as pa
    import sqlite_vec
    import tantivy
    from lancedb.index import FTS, BTree, IvfHnswSq
    from lancedb.rerankers import RRFReranker
    from usearch.index import Index
except ModuleNotFoundError as error:
    sys.exit(f"package {error.name} is missing: pip install -r {Path(__file__).with_name('requirements.txt')}")

TOP = 10
DEPTH = 200  # Candidates of each list, as in Cairn; LanceDB takes its own default.
EF = 256  # Beam of the HNSW graphs, as in Cairn.
ALPHA = 0.6  # Weight of the vectors in the convex combination, as Cairn's for English.
RECOVERED = 1000  # Candidates from whose cosines a query vector is computed.
# Words that FTS5, which has no list of its own, would otherwise look up; the others remove them by themselves.
STOP_WORDS = set("a an and are as at be but by for if in into is it no not of on or such that the their then there these they this to was will with".split())

Hits = list[tuple[int, str]]


@dataclass
class Corpus:
    """Holds the rows that all systems index: ids of chunks, texts, values of `share`, and unit vectors."""

    dataset: str
    ids: list[str]
    texts: list[str]
    shares: np.ndarray
    vectors: np.ndarray


@dataclass
class Query:
    """Holds a query: as Cairn gets it, as words for the other systems, and as a vector."""

    text: str
    words: str
    vector: np.ndarray


@dataclass(frozen=True)
class Kind:
    """Describes a kind of search: which lists it uses, and the share of the rows that its filter passes, in percent."""

    name: str
    keyword: bool = True
    vector: bool = True
    share: int | None = None


class System(Protocol):
    """Searches with one of the systems."""

    name: str

    def rows(self) -> set[int]:
        """Returns the numbers of rows in its indexes; more than one number if they differ."""

    def search(self, query: Query, kind: Kind) -> Hits:
        """Returns row number and text of the best hits."""


class Cairn:
    """Searches with a Cairn server over HTTP, with one connection per thread."""

    name = "cairn"

    def __init__(self, port: int, key: str, corpus: Corpus) -> None:
        self.port, self.key, self.dataset = port, key, corpus.dataset
        self.numbers = {chunk: n for n, chunk in enumerate(corpus.ids)}
        self.local = threading.local()
        self.inside: list[float] = []  # Milliseconds that the server reported.

    def reconnect(self) -> None:
        """Forgets the connections, which the server closes when they are idle."""
        self.local = threading.local()

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Returns the JSON of a response."""
        if not hasattr(self.local, "connection"):
            self.local.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        self.local.connection.request(method, path, None if body is None else json.dumps(body).encode(), headers)
        response = self.local.connection.getresponse()
        answer = response.read()
        if response.status >= 300:
            raise RuntimeError(f"{method} {path}: {response.status} {answer[:300]!r}")
        return json.loads(answer) if answer else None

    def ask(self, path: str, text: str, **more: Any) -> Any:
        """Returns the answer to a search request."""
        return self.call("POST", path, {"query": text, "datasetIds": [self.dataset], "syntax": "plain", **more})

    def rows(self) -> set[int]:
        return {item["totalChunks"] for item in self.call("GET", "/kb/v1/datasets")["data"]}

    def search(self, query: Query, kind: Kind) -> Hits:
        more: dict[str, Any] = {"topK": TOP, "cache": False}
        if not (kind.keyword and kind.vector):
            more["hybridAlpha"] = int(kind.vector)
        if kind.share is not None:
            more["filter"] = {"field": "share", "op": "lt", "value": kind.share}
        answer = self.ask("/kb/v1/search", query.text, **more)
        if answer.get("degraded") or answer["cached"]:
            raise RuntimeError(f"not a complete search: {answer.get('degraded')}, cached: {answer['cached']}")
        self.inside.append(answer["searchMs"])
        return [(self.numbers[hit["chunkId"]], hit["content"]) for hit in answer["results"]]

    def vector(self, text: str, corpus: Corpus) -> np.ndarray:
        """Returns the vector of a query, which no operation returns: the solution of a linear system of exact cosines to stored vectors."""
        found = self.ask("/kb/v1/candidates", text, hybridAlpha=1, candidates=RECOVERED)["candidates"]
        known = corpus.vectors[[self.numbers[c["chunkId"]] for c in found]].astype(np.float64)
        cosines = np.array([c["cosine"] for c in found])
        solution, _, rank, _ = np.linalg.lstsq(known, cosines)
        error = max(abs(known @ solution - cosines).max(), abs(np.linalg.norm(solution) - 1))
        if rank < known.shape[1] or error > 1e-3:
            raise RuntimeError(f"the vector of {text!r} cannot be computed: rank {rank}, error {error}")
        return (solution / np.linalg.norm(solution)).astype(np.float32)


class LanceDb:
    """Searches with LanceDB: full-text index, HNSW index, index of the filter's field; hybrid with its RRF reranker."""

    name = "lancedb"

    def __init__(self, corpus: Corpus, directory: Path) -> None:
        width = corpus.vectors.shape[1]
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(corpus.vectors.ravel()), width)
        columns = {"n": pa.array(range(len(corpus.ids))), "text": corpus.texts, "share": pa.array(corpus.shares), "vector": vectors}
        self.table = lancedb.connect(directory).create_table("chunks", pa.table(columns))
        self.table.create_index("vector", config=IvfHnswSq(distance_type="cosine"))
        self.table.create_index("text", config=FTS())
        self.table.create_index("share", config=BTree())
        self.reranker = RRFReranker()

    def rows(self) -> set[int]:
        names = [index.name for index in self.table.list_indices()]
        if len(names) != 3:
            raise RuntimeError(f"LanceDB has the indexes {names}")
        return {self.table.count_rows(), *(self.table.index_stats(name).num_indexed_rows for name in names)}

    def search(self, query: Query, kind: Kind) -> Hits:
        if kind.keyword and kind.vector:
            search = self.table.search(query_type="hybrid").vector(query.vector).text(query.words).rerank(self.reranker)
        elif kind.vector:
            search = self.table.search(query.vector)
        else:
            search = self.table.search(query.words, query_type="fts")
        if kind.vector:
            search = search.distance_type("cosine").ef(EF).refine_factor(5)
        if kind.share is not None:
            search = search.where(f"share < {kind.share}")
        found = search.select(["n", "text"]).limit(TOP).to_arrow()
        return list(zip(found["n"].to_pylist(), found["text"].to_pylist(), strict=True))


class Glue:
    """Searches with tantivy and usearch in this process, and joins the lists with a convex combination."""

    name = "tantivy+usearch"

    def __init__(self, corpus: Corpus, directory: Path) -> None:
        self.corpus = corpus
        analyzer = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple()).filter(tantivy.Filter.lowercase())
        analyzer = analyzer.filter(tantivy.Filter.stopword("english")).filter(tantivy.Filter.stemmer("english")).build()
        schema = tantivy.SchemaBuilder().add_text_field("text", stored=True, tokenizer_name="english", index_option="freq")
        schema = schema.add_integer_field("n", stored=True, fast=True).add_integer_field("share", indexed=True, fast=True)
        self.schema = schema.build()
        directory.mkdir()
        self.index = tantivy.Index(self.schema, path=str(directory))
        self.index.register_tokenizer("english", analyzer)
        writer = self.index.writer(heap_size=200_000_000, num_threads=1)
        for n, text in enumerate(corpus.texts):
            writer.add_document(tantivy.Document(text=text, n=n, share=int(corpus.shares[n])))
        writer.commit()
        writer.wait_merging_threads()
        self.index.reload()
        self.searcher = self.index.searcher()
        self.graph = Index(ndim=corpus.vectors.shape[1], metric="cos", dtype="f32", expansion_search=EF)
        self.graph.add(np.arange(len(corpus.ids)), corpus.vectors)

    def rows(self) -> set[int]:
        return {self.searcher.num_docs, len(self.graph)}

    def search(self, query: Query, kind: Kind) -> Hits:
        words, near = {}, {}
        depth = DEPTH if kind.keyword and kind.vector else TOP
        if kind.keyword:
            parsed = self.index.parse_query(query.words, ["text"])
            if kind.share is not None:
                limit = tantivy.Query.range_query(self.schema, "share", tantivy.FieldType.Integer, 0, kind.share, True, False)
                limit = tantivy.Query.const_score_query(limit, 0.0)
                parsed = tantivy.Query.boolean_query([(tantivy.Occur.Must, parsed), (tantivy.Occur.Must, limit)])
            found = self.searcher.search(parsed, depth, count=False).hits
            numbers = self.searcher.fast_field_values("n", [address for _, address in found])
            words = {n: score for n, (score, _) in zip(numbers, found, strict=True)}
        if kind.vector:
            # usearch has no filters in Python: a filtered search takes more candidates and removes what does not pass.
            wanted = depth if kind.share is None else int(1.3 * depth * 100 / kind.share)
            keys = self.graph.search(query.vector, min(wanted, len(self.graph)), threads=1).keys
            passing = keys if kind.share is None else keys[self.corpus.shares[keys] < kind.share]
            rows = np.union1d(passing[:depth], np.array(list(words), dtype=np.int64)).astype(np.int64)
            near = dict(zip(rows.tolist(), (self.corpus.vectors[rows] @ query.vector).tolist(), strict=True))
        best = max(words.values(), default=0.0) or 1.0
        alpha = ALPHA if kind.keyword and kind.vector else float(kind.vector)
        scores = [(alpha * (1 + near.get(n, -1)) / 2 + (1 - alpha) * words.get(n, 0) / best, n) for n in near or words]
        return [(n, self.corpus.texts[n]) for _, n in sorted(scores, reverse=True)[:TOP]]


class Sqlite:
    """Searches with SQLite: FTS5, and sqlite-vec, which compares all vectors; joined by rank fusion."""

    name = "sqlite"

    def __init__(self, corpus: Corpus, directory: Path) -> None:
        self.path, self.local = str(directory), threading.local()
        database = self.open()
        with database:
            database.execute("CREATE TABLE chunks (n INTEGER PRIMARY KEY, share INTEGER, text TEXT)")
            database.execute("CREATE VIRTUAL TABLE words USING fts5(text, content='chunks', content_rowid='n', tokenize='porter unicode61')")
            width = corpus.vectors.shape[1]
            database.execute(f"CREATE VIRTUAL TABLE vectors USING vec0(n INTEGER PRIMARY KEY, vector FLOAT[{width}] distance_metric=cosine, share INTEGER)")
            shares = corpus.shares.tolist()
            database.executemany("INSERT INTO chunks VALUES (?, ?, ?)", zip(range(len(shares)), shares, corpus.texts))
            database.execute("INSERT INTO words (words) VALUES ('rebuild')")
            rows = ((n, v.tobytes(), share) for n, (v, share) in enumerate(zip(corpus.vectors, shares)))
            database.executemany("INSERT INTO vectors VALUES (?, ?, ?)", rows)
        database.execute("INSERT INTO words (words) VALUES ('optimize')")

    def open(self) -> apsw.Connection:
        """Returns the connection of this thread."""
        if not hasattr(self.local, "connection"):
            connection = self.local.connection = apsw.Connection(self.path)
            connection.enable_load_extension(True)
            connection.load_extension(sqlite_vec.loadable_path())
            connection.execute("PRAGMA mmap_size = 4000000000; PRAGMA cache_size = -100000")
        return self.local.connection

    def rows(self) -> set[int]:
        tables = ["chunks", "words_docsize", "vectors"]
        return {n for table in tables for (n,) in self.open().execute(f"SELECT count(*) FROM {table}")}

    def search(self, query: Query, kind: Kind) -> Hits:
        database = self.open()
        depth = DEPTH if kind.keyword and kind.vector else TOP
        ranks: dict[int, float] = {}
        if kind.keyword:
            match = " OR ".join(f'"{word}"' for word in query.words.split() if word not in STOP_WORDS)
            if kind.share is None:
                found = database.execute("SELECT rowid FROM words WHERE words MATCH ? ORDER BY rank LIMIT ?", (match, depth))
            else:
                sql = "SELECT n FROM words JOIN chunks ON n = words.rowid WHERE words MATCH ? AND share < ? ORDER BY rank LIMIT ?"
                found = database.execute(sql, (match, kind.share, depth))
            add_ranks(ranks, found)
        if kind.vector:
            condition = "" if kind.share is None else f" AND share < {kind.share}"
            sql = f"SELECT n FROM vectors WHERE vector MATCH ? AND k = ?{condition} ORDER BY distance"
            add_ranks(ranks, database.execute(sql, (query.vector.tobytes(), depth)))
        best = sorted(ranks, key=lambda n: -ranks[n])[:TOP]
        return [(n, next(database.execute("SELECT text FROM chunks WHERE n = ?", (n,)))[0]) for n in best]


def add_ranks(ranks: dict[int, float], found: Iterable[tuple[int]]) -> None:
    """Adds the scores of reciprocal rank fusion of one list."""
    for rank, (n,) in enumerate(found):
        ranks[n] = ranks.get(n, 0.0) + 1 / (61 + rank)


def plain(text: str) -> str:
    """Returns the words of a text in lower case, without any character that has a meaning in a query syntax."""
    return " ".join(re.findall(r"[^\W_]+", text.lower()))
