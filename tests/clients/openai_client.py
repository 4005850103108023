"""The official client of OpenAI against Cairn. Arguments: address, key."""

import io
import sys

import openai

url, key = sys.argv[1:]
client = openai.OpenAI(base_url=f"{url}/openai/v1", api_key=key, max_retries=0, timeout=120)

# Models and embeddings.
models = [model.id for model in client.models.list()]
assert models, models
assert client.models.retrieve(models[0]).object == "model"
one = client.embeddings.create(model=models[0], input="The tide lags behind the moon.")
plain = client.embeddings.create(model=models[0], input=["The tide lags behind the moon.", "Bread"], encoding_format="float")
vector, other = plain.data[0].embedding, plain.data[1].embedding
assert len(one.data[0].embedding) == len(vector)
assert all(abs(a - b) < 1e-6 for a, b in zip(one.data[0].embedding, vector))
assert abs(sum(x * x for x in vector) - 1) < 1e-3
assert sum(a * b for a, b in zip(vector, other)) < 0.5
assert plain.usage.prompt_tokens > one.usage.prompt_tokens > 5


def refused(call, kind, code):
    """Whether a call fails with an error of the client and a code."""
    try:
        call()
    except kind as error:
        assert error.code == code, (error.code, error)
        return
    raise AssertionError(f"{code} was expected")


refused(lambda: client.embeddings.create(model="text-embedding-3-small", input="x"), openai.NotFoundError, "model_not_found")
refused(lambda: client.embeddings.create(model=models[0], input=[]), openai.BadRequestError, "input_invalid")
refused(lambda: client.embeddings.create(model=models[0], input=[[1, 2]]), openai.BadRequestError, "input_invalid")
refused(lambda: client.embeddings.create(model=models[0], input="x", dimensions=7), openai.BadRequestError, "dimensions_invalid")
refused(lambda: openai.OpenAI(base_url=f"{url}/openai/v1", api_key="cairn_wrong").models.list(), openai.AuthenticationError, "key_invalid")

# Files.
tides = b"# Tides\n\nThe tide lags behind the moon because of the friction at the sea floor.\n"
bread = b"# Bread\n\nSourdough needs time, flour and salt.\n"
first = client.files.create(file=("tides.md", tides), purpose="assistants")
second = client.files.create(file=("bread.md", bread), purpose="assistants")
twin = client.files.create(file=("tides.md", tides + b"\nAnother edition.\n"), purpose="user_data")
assert (first.object, first.bytes, first.filename, first.status) == ("file", len(tides), "tides.md", "processed")
assert [f.id for f in client.files.list()] == [twin.id, second.id, first.id]
assert [f.id for f in client.files.list(purpose="assistants", order="asc")] == [first.id, second.id]
assert [f.id for f in client.files.list(limit=1)] == [twin.id, second.id, first.id], "pages follow each other"
assert client.files.retrieve(first.id).id == first.id
assert client.files.content(first.id).read() == tides
refused(lambda: client.files.create(file=("x.bin", b"\0\1\2\3"), purpose="assistants"), openai.BadRequestError, "unsupported_format")
refused(lambda: client.files.retrieve("file-nothing"), openai.NotFoundError, "file_not_found")

# Vector stores.
store = client.vector_stores.create(name="sea", metadata={"team": "harbour"}, file_ids=[first.id])
assert store.metadata == {"team": "harbour"} and store.file_counts.total == 1, store
again = client.vector_stores.create(name="sea")
assert again.name == "sea 2", again
assert [s.id for s in client.vector_stores.list()][:2] == [again.id, store.id]
assert client.vector_stores.update(again.id, name="kitchen", metadata={"team": "bakery"}).name == "kitchen"
refused(lambda: client.vector_stores.create(name="x", file_ids=["file-nothing"]), openai.NotFoundError, "file_not_found")
refused(
    lambda: client.vector_stores.create(name="x", expires_after={"anchor": "last_active_at", "days": 7}),
    openai.BadRequestError,
    "expires_after_unsupported",
)
refused(lambda: client.vector_stores.retrieve("nothing"), openai.NotFoundError, "dataset_not_found")

# Files of a vector store, one by one.
added = client.vector_stores.files.create_and_poll(
    file_id=second.id, vector_store_id=store.id, attributes={"year": 2026, "lang": "en", "kept": True}, poll_interval_ms=100
)
assert (added.id, added.status, added.attributes["year"]) == (second.id, "completed", 2026), added
assert client.vector_stores.files.poll(first.id, vector_store_id=store.id, poll_interval_ms=100).status == "completed"
uploaded = client.vector_stores.files.upload_and_poll(
    vector_store_id=store.id,
    file=("moon.md", b"# Moon\n\nThe moon raises two bulges of water.\n"),
    chunking_strategy={"type": "static", "static": {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 20}},
    poll_interval_ms=100,
)
assert uploaded.chunking_strategy.static.max_chunk_size_tokens == 200, uploaded
listed = [f.id for f in client.vector_stores.files.list(store.id)]
assert listed == [uploaded.id, second.id, first.id], listed
assert [f.id for f in client.vector_stores.files.list(store.id, limit=1, order="asc")] == listed[::-1], "pages follow each other"
assert [f.id for f in client.vector_stores.files.list(store.id, filter="failed")] == []
changed = client.vector_stores.files.update(first.id, vector_store_id=store.id, attributes={"year": 2019})
assert changed.attributes == {"year": 2019}, changed
text = client.vector_stores.files.content(first.id, vector_store_id=store.id)
assert "friction" in text.data[0].text, text
refused(
    lambda: client.vector_stores.files.create(
        store.id, file_id=first.id, chunking_strategy={"type": "static", "static": {"max_chunk_size_tokens": 4096, "chunk_overlap_tokens": 0}}
    ),
    openai.BadRequestError,
    "chunk_size_out_of_range",
)

# Search.
found = client.vector_stores.search(store.id, query="Why does the tide lag?")
best = found.data[0]
assert best.file_id == first.id and best.filename == "tides.md" and best.score > 0.5, best
assert "friction" in best.content[0].text and best.attributes == {"year": 2019}
recent = client.vector_stores.search(
    store.id,
    query=["Why does the tide lag?", "What does sourdough need?"],
    filters={"type": "and", "filters": [{"type": "gte", "key": "year", "value": 2020}, {"type": "eq", "key": "lang", "value": "en"}]},
    max_num_results=3,
    ranking_options={"ranker": "none", "score_threshold": 0.1},
    rewrite_query=True,
)
assert [r.file_id for r in recent] == [second.id], recent
assert client.vector_stores.search(store.id, query="tide", ranking_options={"score_threshold": 1.0}).data == []
refused(lambda: client.vector_stores.search(store.id, query="x", max_num_results=51), openai.BadRequestError, "top_k_out_of_range")
refused(
    lambda: client.vector_stores.search(store.id, query="x", filters={"type": "like", "key": "a", "value": "b"}),
    openai.BadRequestError,
    "filter_invalid",
)

# Batches.
batch = client.vector_stores.file_batches.create_and_poll(vector_store_id=again.id, file_ids=[first.id, second.id], attributes={"set": "a"}, poll_interval_ms=100)
assert (batch.status, batch.file_counts.completed, batch.file_counts.total) == ("completed", 2, 2), batch
assert {f.id for f in client.vector_stores.file_batches.list_files(batch.id, vector_store_id=again.id)} == {first.id, second.id}
batch = client.vector_stores.file_batches.create(again.id, files=[{"file_id": twin.id, "attributes": {"set": "b"}}])
client.vector_stores.file_batches.poll(batch.id, vector_store_id=again.id, poll_interval_ms=100)
assert client.vector_stores.file_batches.cancel(batch.id, vector_store_id=again.id).status == "cancelled"
batch = client.vector_stores.file_batches.upload_and_poll(again.id, files=[("a.md", io.BytesIO(b"# A\n\nAlpha.\n")), ("b.md", io.BytesIO(b"# B\n\nBeta.\n"))])
assert batch.file_counts.completed == 2, batch

# A loop that deletes what it lists ends with nothing left.
for file in client.vector_stores.files.list(again.id, limit=2):
    client.vector_stores.files.delete(file.id, vector_store_id=again.id)
assert client.vector_stores.retrieve(again.id).file_counts.total == 0
assert client.vector_stores.files.list(store.id, filter="cancelled").data == []

# Deletion: from a store, of a file everywhere, of a store.
assert client.vector_stores.files.delete(second.id, vector_store_id=store.id).deleted
assert client.files.retrieve(second.id).id == second.id
assert client.files.delete(first.id).deleted
refused(lambda: client.vector_stores.files.retrieve(first.id, vector_store_id=store.id), openai.NotFoundError, "file_not_found")
assert "tides.md" not in [r.filename for r in client.vector_stores.search(store.id, query="Why does the tide lag?")]
assert client.vector_stores.delete(store.id).deleted
refused(lambda: client.vector_stores.search(store.id, query="tide"), openai.NotFoundError, "dataset_not_found")
print("done")
