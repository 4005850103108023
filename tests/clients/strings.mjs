// Prints every text that the pages of the sandbox show, with its file and line, for reading all of them in one go:
//   node tests/clients/strings.mjs
// Texts are string literals and templates with at least two words, or a capital letter at their beginning. Needs the packages of tests/run.

import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const ts = createRequire(join(root, 'target/clients/node/'))('typescript');
const web = join(root, 'src/api/sandbox/web');

/** Whether people read it: it is no selector, address, class or event. */
const isShown = (text) => /^[A-Z][a-z]+[.:?!…]?$|^[^/#.\[<][^=<>{}\[\]]*[A-Za-z]+ [A-Za-z“”]/.test(text) && !/^(M|POST|GET|PUT|DELETE|PATCH)\b.*\//.test(text);

function textOf(node) {
  if (ts.isStringLiteral(node) || ts.isNoSubstitutionTemplateLiteral(node)) return node.text;
  if (!ts.isTemplateExpression(node)) return null;
  return node.head.text + node.templateSpans.map((span) => `{${span.expression.getText()}}${span.literal.text}`).join('');
}

for (const name of readdirSync(web, { recursive: true }).sort()) {
  if (!name.endsWith('.js')) continue;
  const path = join(web, name);
  const file = ts.createSourceFile(name, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true);
  const visit = (node) => {
    // Classes and selectors are no texts.
    const isClass = ts.isPropertyAssignment(node.parent ?? node) && node.parent.name.getText() === 'class';
    const text = ts.isImportDeclaration(node) || isClass ? null : textOf(node);
    if (text && isShown(text)) {
      const { line } = file.getLineAndCharacterOfPosition(node.getStart());
      console.log(`${relative(root, path)}:${line + 1}\t${text}`);
    }
    if (!ts.isImportDeclaration(node)) ts.forEachChild(node, visit);
  };
  visit(file);
}
