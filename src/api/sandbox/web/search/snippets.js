// @ts-check
// A search as code, ready to be run elsewhere.

/** A value in Python. @param {any} value @param {string} indent @returns {string} */
function pythonic(value, indent) {
  const more = `${indent}    `;
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (Array.isArray(value)) return `[${value.map((v) => pythonic(v, indent)).join(', ')}]`;
  if (typeof value === 'object') {
    const entries = Object.entries(value).map(([k, v]) => `${more}${JSON.stringify(k)}: ${pythonic(v, more)},\n`);
    return `{\n${entries.join('')}${indent}}`;
  }
  return JSON.stringify(value);
}

/** @param {string} json @param {string} origin */
function curl(json, origin) {
  const quoted = json.replaceAll("'", "'\\''");
  return `curl -s ${origin}/kb/v1/search \\
  -H "Authorization: Bearer $CAIRN_KEY" \\
  -H 'Content-Type: application/json' \\
  -d '${quoted}'`;
}

/** @param {string} json @param {string} origin */
function python(json, origin) {
  const body = pythonic(JSON.parse(json), '').replaceAll('\n', '\n    ');
  return `import os

import requests

answer = requests.post(
    "${origin}/kb/v1/search",
    headers={"Authorization": f"Bearer {os.environ['CAIRN_KEY']}"},
    json=${body},
    timeout=30,
)
answer.raise_for_status()
for hit in answer.json()["results"]:
    print(f'{hit["score"]:.3f} {hit["fileName"]}: {hit["content"][:80]}')`;
}

/** @param {string} json @param {string} origin */
function typescript(json, origin) {
  const body = json.replaceAll('\n', '\n  ');
  return `const answer = await fetch("${origin}/kb/v1/search", {
  method: "POST",
  headers: { Authorization: \`Bearer \${process.env.CAIRN_KEY}\`, "Content-Type": "application/json" },
  body: JSON.stringify(${body}),
});
if (!answer.ok) throw new Error(await answer.text());
for (const hit of (await answer.json()).results) {
  console.log(hit.score.toFixed(3), hit.fileName, hit.content.slice(0, 80));
}`;
}

/** @param {string} json @param {string} origin */
function rust(json, origin) {
  let hashes = '#';
  while (json.includes(`"${hashes}`)) hashes += '#';
  return `// reqwest = { version = "0.13", features = ["blocking", "json"] }, serde_json = "1"
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let body: serde_json::Value = serde_json::from_str(r${hashes}"${json}"${hashes})?;
    let answer: serde_json::Value = reqwest::blocking::Client::new()
        .post("${origin}/kb/v1/search")
        .bearer_auth(std::env::var("CAIRN_KEY")?)
        .json(&body)
        .send()?
        .error_for_status()?
        .json()?;
    for hit in answer["results"].as_array().into_iter().flatten() {
        println!("{} {}", hit["score"], hit["fileName"]);
    }
    Ok(())
}`;
}

/** A call of the tool `search`. @param {any} body */
function mcp({ query, datasetIds, topK, minScore, filter }) {
  const own = { query, datasets: datasetIds, top_k: Math.min(topK, 20), min_score: minScore, filter };
  const call = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'search', arguments: own } };
  return JSON.stringify(call, null, 2);
}

/**
 * @param {any} body what `/kb/v1/search` takes
 * @param {string} origin
 * @returns {[string, string][]} name of the language and the code
 */
export function snippets(body, origin) {
  const json = JSON.stringify(body, null, 2);
  return [
    ['curl', curl(json, origin)],
    ['Python', python(json, origin)],
    ['TypeScript', typescript(json, origin)],
    ['Rust', rust(json, origin)],
    ['MCP', mcp(body)],
  ];
}
