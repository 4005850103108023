// @ts-check
// Chat with the assistant: conversations, answers as they are written, citations that open the passage.

import { call, get, raw, streamed } from '../lib/api.js';
import { button } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { ago } from '../lib/format.js';
import { complain, confirmed } from '../lib/messages.js';
import { API, cited, place } from './shared.js';

/** The link of a citation. @param {any} source */
const link = (source) => {
  const href = place(source.citation);
  return href
    ? h(
        'a',
        { class: `cite ${source.verdict}`, href, title: source.quote, 'aria-label': `Source ${source.number}: ${source.title ?? ''}` },
        String(source.number),
      )
    : String(source.number);
};

/** A message, its citations as links. @param {any} message */
const shown = (message) =>
  h(
    'article',
    { class: 'card', 'aria-label': message.role === 'user' ? 'You' : 'Assistant' },
    h('p', { class: 'quiet' }, message.role === 'user' ? 'You' : 'Assistant'),
    h(
      'p',
      { class: 'said' },
      message.content.split(/(\[\d+\])/).map((/** @type {string} */ part) => {
        const source = message.citations.find((/** @type {any} */ c) => `[${c.number}]` === part);
        return source ? link(source) : cited(part);
      }),
    ),
  );

/** @param {import('../app.js').Context} context */
export async function chat({ signal, query, replace, go }) {
  let id = query.get('conversation') ?? '';
  const list = h('ul', { class: 'plain' });
  const log = h('div', { class: 'stack', role: 'log', 'aria-label': 'Messages' });
  const input = h('input', {
    type: 'text',
    required: true,
    'aria-label': 'Message',
    placeholder: 'Ask about campaigns, activities, reports, documents',
  });

  async function drawList() {
    const { data } = await get(`${API}/chat/conversations`, signal);
    put(
      list,
      data.length === 0
        ? h('li', { class: 'quiet' }, 'No conversations yet.')
        : data.map((/** @type {any} */ c) =>
            h(
              'li',
              { class: 'row' },
              h('a', { href: `/sandbox/work?tab=chat&conversation=${c.id}`, 'aria-current': c.id === id ? 'true' : null }, c.title),
              h('span', { class: 'quiet' }, ago(c.updatedOn)),
              button(
                'Delete',
                async () => {
                  if (!(await confirmed(`Delete the conversation ${c.title}?`, 'Delete'))) return;
                  await call('DELETE', `${API}/chat/conversations/${c.id}`);
                  if (c.id === id) go('/sandbox/work?tab=chat');
                  else await drawList();
                },
                { class: 'plain', 'aria-label': `Delete ${c.title}` },
              ),
            ),
          ),
    );
  }

  const ask = h(
    'form',
    {
      class: 'query',
      onsubmit: (/** @type {Event} */ e) => {
        e.preventDefault();
        send().catch((error) => error?.name !== 'AbortError' && complain(error));
      },
    },
    input,
    h('button', { class: 'primary' }, 'Send'),
  );

  async function send() {
    const message = input.value.trim();
    if (!message) return;
    input.value = '';
    log.append(shown({ role: 'user', content: message, citations: [] }));
    const reply = h('p', { class: 'said', 'aria-live': 'polite' });
    const card = h('article', { class: 'card', 'aria-label': 'Assistant' }, h('p', { class: 'quiet' }, 'Assistant'), reply);
    log.append(card);
    const response = await raw('POST', `${API}/chat/message`, { message, conversationId: id || undefined }, signal);
    let text = '';
    for await (const { name, data } of streamed(response)) {
      if (name === 'text_delta') {
        text += data.delta;
        put(reply, text);
      } else if (name === 'error') {
        put(reply, h('span', { class: 'notice bad' }, `No answer because of an error: ${data.error}`));
      } else if (name === 'completed') {
        card.replaceWith(shown({ role: 'assistant', content: text, citations: data.citations }));
        if (id !== data.conversationId) {
          id = data.conversationId;
          replace(`/sandbox/work?tab=chat&conversation=${id}`);
        }
        await drawList();
      }
    }
  }

  await drawList();
  if (id) put(log, (await get(`${API}/chat/conversations/${id}`, signal)).messages.map(shown));
  return h(
    'div',
    { class: 'split lead' },
    h('section', { class: 'stack', 'aria-label': 'Conversation' }, log, ask),
    h(
      'section',
      { class: 'card', 'aria-label': 'Conversations' },
      h('h2', null, 'Conversations'),
      h('p', null, h('a', { href: '/sandbox/work?tab=chat' }, 'New conversation')),
      list,
    ),
  );
}
