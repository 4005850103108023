// @ts-check
// A search as code, ready to be run elsewhere.

/** A value in Python. @param {any} value @param {string} indent @returns {string} */
function pythonic(value, indent) {
  const more = `${indent}    `;
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (Array.isArray(value)) return `[${value.map((v) => pythonic(v, indent)).join(', ')}]`;
  if (typeof value === 'object') return `{\n${Object.entries(value).map(([k, v]) => `${more}${JSON.stringify(k)}: ${pythonic(v, more)},\n`).join('')}${indent}}`;
  return JSON.stringify(value);
}

/**
 * @param {any} body what `/kb/v1/search` takes
 * @param {string} origin
 * @returns {[string, string][]} name of the language and the code
 */
export function snippets(body, origin) {
  const json = JSON.stringify(body, null, 2);
  const shell = json.replaceAll("'", "'\\''");
  const python = pythonic(JSON.parse(json), '');
  let hashes = '#';
  while (json.includes(`"${hashes}`)) hashes += '#';
  const { query, datasetIds, topK, ...rest } = body;
  return [
    ['curl', `curl -s ${origin}/kb/v1/search \\\n  -H "Authorization: Bearer $CAIRN_KEY" \\\n  -H 'Content-Type: application/json' \\\n  -d '${shell}'`],
    ['Python', `import os\n\nimport requests\n\nanswer = requests.post(\n    "${origin}/kb/v1/search",\n    headers={"Authorization": f"Bearer {os.environ['CAIRN_KEY']}"},\n    json=${python.replaceAll('\n', '\n    ')},\n    timeout=30,\n)\nanswer.raise_for_status()\nfor hit in answer.json()["results"]:\n    print(f'{hit["score"]:.3f} {hit["fileName"]}: {hit["content"][:80]}')`],
    ['TypeScript', `const answer = await fetch("${origin}/kb/v1/search", {\n  method: "POST",\n  headers: { Authorization: \`Bearer \${process.env.CAIRN_KEY}\`, "Content-Type": "application/json" },\n  body: JSON.stringify(${json.replaceAll('\n', '\n  ')}),\n});\nif (!answer.ok) throw new Error(await answer.text());\nfor (const hit of (await answer.json()).results) {\n  console.log(hit.score.toFixed(3), hit.fileName, hit.content.slice(0, 80));\n}`],
    ['Rust', `// reqwest = { version = "0.13", features = ["blocking", "json"] }, serde_json = "1"\nfn main() -> Result<(), Box<dyn std::error::Error>> {\n    let body: serde_json::Value = serde_json::from_str(r${hashes}"${json}"${hashes})?;\n    let answer: serde_json::Value = reqwest::blocking::Client::new()\n        .post("${origin}/kb/v1/search")\n        .bearer_auth(std::env::var("CAIRN_KEY")?)\n        .json(&body)\n        .send()?\n        .error_for_status()?\n        .json()?;\n    for hit in answer["results"].as_array().into_iter().flatten() {\n        println!("{} {}", hit["score"], hit["fileName"]);\n    }\n    Ok(())\n}`],
    ['MCP', JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'search', arguments: { query, datasets: datasetIds, top_k: Math.min(topK, 20), min_score: rest.minScore, filter: rest.filter } } }, null, 2)],
  ];
}
