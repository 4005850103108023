"""What a user does first, with the Python client that openapi-python-client generates. Arguments: folder of the client, address, key."""

import sys

folder, url, key = sys.argv[1:]
sys.path.insert(0, folder)

from cairn_client import AuthenticatedClient
from cairn_client.api.datasets import create_dataset
from cairn_client.api.documents import list_documents, upload_documents
from cairn_client.api.search import answer_question, search
from cairn_client.models import (
    AnswerRequest,
    Comparison,
    Completed,
    CreateDataset,
    DatasetSummary,
    FilterAnd,
    KbSearchRequest,
    KbSearchResponse,
    Operator,
    Uploaded,
    UploadForm,
    WaitFor,
)
from cairn_client.types import File

client = AuthenticatedClient(base_url=url, token=key, timeout=120)

dataset = create_dataset.sync(client=client, body=CreateDataset(name="generated python"))
assert isinstance(dataset, DatasetSummary), dataset

text = b"# Tides\n\nThe tide lags behind the moon because of the friction at the sea floor.\n"
form = UploadForm(
    files=[File(payload=text, file_name="tides.md", mime_type="text/markdown")],
    metadata='{"year": 2026}',
    versions=True,
)
uploaded = upload_documents.sync(dataset.id, client=client, body=form, wait=WaitFor.INDEXED)
assert isinstance(uploaded, Uploaded), uploaded
assert uploaded.uploaded_files[0].status == "indexed", uploaded

listed = list_documents.sync(dataset.id, client=client)
assert [document.file_name for document in listed.data] == ["tides.md"], listed

recent = Comparison(field="year", op=Operator.GTE, value=2020)
request = KbSearchRequest(query="why does the tide lag", dataset_ids=[dataset.id], filter_=FilterAnd(and_=[recent]))
found = search.sync(client=client, body=request)
assert isinstance(found, KbSearchResponse), found
assert found.results[0].file_name == "tides.md" and found.results[0].score > 0.5, found

question = AnswerRequest(question="Why does the tide lag?", dataset_ids=[dataset.id], stream=False)
answer = answer_question.sync(client=client, body=question)
assert isinstance(answer, Completed), answer
print("done")
