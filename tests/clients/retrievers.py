"""The retrievers of src/api/RETRIEVERS.md with the real packages. Arguments: the page, address, key, id of a dataset about tides."""

import os
import re
import sys

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
page, url, key, dataset = sys.argv[1:]
with open(page, encoding="utf-8") as file:
    snippets = re.findall(r"```python\n(.*?)```", file.read(), re.DOTALL)
assert len(snippets) == 3, len(snippets)
made = {}
for snippet in snippets:
    assert len(snippet.splitlines()) <= 40, "a snippet is at most 40 lines"
    names = {"__name__": "snippet"}
    exec(snippet, names)
    made.update({name: value for name, value in names.items() if name.startswith("Cairn")})

question = "Why does the tide lag?"

documents = made["CairnRetriever"](url=url, key=key, dataset_ids=[dataset], settings={"topK": 1}).invoke(question)
assert len(documents) == 1 and "friction" in documents[0].page_content, documents
assert documents[0].metadata["score"] > 0.5 and documents[0].metadata["citation"].startswith("kb://"), documents

nodes = made["CairnNodeRetriever"](url, key, [dataset], topK=1).retrieve(question)
assert len(nodes) == 1 and "friction" in nodes[0].text and nodes[0].score > 0.5, nodes

from haystack import Pipeline

pipeline = Pipeline()
pipeline.add_component("retriever", made["CairnHaystackRetriever"](url, key, [dataset], topK=1))
found = pipeline.run({"retriever": {"query": question}})["retriever"]["documents"]
assert len(found) == 1 and "friction" in found[0].content and found[0].score > 0.5, found
print("done")
