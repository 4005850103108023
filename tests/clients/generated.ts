// What a user does first, with the types that openapi-typescript generates. Arguments: address, key.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

const [url, key] = process.argv.slice(2) as [string, string];
const cairn = createClient<paths>({ baseUrl: url, headers: { Authorization: `Bearer ${key}` } });

const made = await cairn.POST("/kb/v1/datasets", { body: { name: "generated typescript" } });
if (made.error) throw new Error(made.error.error.message);
const datasetId = made.data.id;

const form = new FormData();
form.append("files", new Blob(["# Tides\n\nThe tide lags behind the moon because of friction.\n"]), "tides.md");
const uploaded = await cairn.POST("/kb/v1/datasets/{datasetId}/documents", {
  params: { path: { datasetId }, query: { wait: "indexed" } },
  // openapi-typescript has no type for files in forms; openapi-fetch sends a form as it is.
  body: form as unknown as components["schemas"]["UploadForm"],
});
if (uploaded.error) throw new Error(uploaded.error.error.message);
if (uploaded.data.uploadedFiles[0]?.status !== "indexed") throw new Error(JSON.stringify(uploaded.data));

const found = await cairn.POST("/kb/v1/search", {
  body: {
    query: "why does the tide lag",
    datasetIds: [datasetId],
    topK: 3,
    filter: { not: { field: "year", op: "exists", value: true } },
  },
});
if (found.error) throw new Error(found.error.error.message);
if (found.data.results[0]?.fileName !== "tides.md") throw new Error(JSON.stringify(found.data));

const refused = await cairn.POST("/kb/v1/search", { body: { query: "", datasetIds: [datasetId] } });
if (!refused.error || refused.error.error.code.length === 0) throw new Error("an empty query was answered");
console.log("done");
