"""The client of Cohere, and a request as Jina's, against Cairn. Arguments: address, key, name of an embedding model."""

import sys

import cohere
import httpx

url, key, model = sys.argv[1:]
documents = [
    "Sourdough needs time, flour and salt.",
    "The tide lags behind the moon because of the friction at the sea floor.",
    "A lighthouse warns ships of the coast.",
]
question = "Why does the tide lag?"

client = cohere.ClientV2(api_key=key, base_url=f"{url}/cohere")
ranked = client.rerank(model=model, query=question, documents=documents, top_n=2)
assert [result.index for result in ranked.results][0] == 1 and len(ranked.results) == 2, ranked
assert ranked.results[0].relevance_score > ranked.results[1].relevance_score > 0, ranked
try:
    client.rerank(model="rerank-v3.5", query=question, documents=documents)
    raise AssertionError("there is no cross-encoder")
except cohere.NotFoundError as error:
    assert model in str(error.body), error

first = cohere.Client(api_key=key, base_url=f"{url}/cohere")
ranked = first.rerank(model=model, query=question, documents=[{"text": d} for d in documents], return_documents=True)
assert ranked.results[0].document.text == documents[1], ranked

headers = {"Authorization": f"Bearer {key}"}
body = {"model": model, "query": question, "documents": documents, "top_n": 1}
answer = httpx.post(f"{url}/jina/v1/rerank", json=body, headers=headers).json()
assert answer["results"][0]["document"]["text"] == documents[1] and answer["model"] == model, answer
refused = httpx.post(f"{url}/jina/v1/rerank", json={**body, "documents": []}, headers=headers)
assert refused.status_code == 400 and "1 to 1000" in refused.json()["detail"], refused.text
print("done")
