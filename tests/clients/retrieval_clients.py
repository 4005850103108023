"""The clients of RAGFlow and LangServe against Cairn. Arguments: address, key, id of a dataset about tides."""

import sys

from langserve import RemoteRunnable
from ragflow_sdk import RAGFlow

url, key, dataset = sys.argv[1:]
question = "Why does the tide lag?"

client = RAGFlow(api_key=key, base_url=f"{url}/ragflow")
chunks = client.retrieve(dataset_ids=[dataset], question=question, page_size=3)
assert len(chunks) == 1 and "friction" in chunks[0].content, chunks
assert chunks[0].similarity > 0.5 and chunks[0].document_name == "Tides", vars(chunks[0])
assert client.retrieve(dataset_ids=["tides"], question=question, similarity_threshold=1.0) == []
try:
    client.retrieve(dataset_ids=["nothing"], question=question)
    raise AssertionError("there is no such dataset")
except Exception as error:
    assert "not found" in str(error), error

retriever = RemoteRunnable(f"{url}/langserve/tides/", headers={"Authorization": f"Bearer {key}"})
documents = retriever.invoke(question)
assert len(documents) == 1 and "friction" in documents[0].page_content, documents
assert documents[0].metadata["score"] > 0.5 and documents[0].metadata["file_name"] == "tide.md", documents
first, second = retriever.batch([question, {"query": "the moon"}], config={"configurable": {"k": 1}})
assert len(first) == 1 and first[0].id == second[0].id, (first, second)
none = retriever.invoke(question, config={"configurable": {"score_threshold": 1.0}})
assert none == [], none
print("done")
