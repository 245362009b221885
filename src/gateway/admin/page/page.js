// Keeps the page up to date, sorts and filters the tunnels, and ends them. Texts from outside are set as text; the only
// HTML that is put in are the parts that the gateway has written and escaped.
'use strict';

const POLL = 10_000; // ms between two looks without a stream of events
const WAIT = 3_000; // ms after which a browser opens the next stream
const SILENCE = 15_000; // ms after which a page looks for events itself
const $ = (id) => document.getElementById(id);
const make = (name, fields, ...children) => {
  const element = Object.assign(document.createElement(name), fields);
  element.append(...children);
  return element;
};

// ---- words for people, as in page.rs

const grouped = (number) => number.toLocaleString('en');
const size = (bytes) => {
  let unit = 0;
  for (; bytes >= 999.5 && unit < 5; unit++) bytes /= 1024;
  return `${bytes.toFixed(unit === 0 || bytes >= 9.95 ? 0 : 1)} ${['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'][unit]}`;
};
const rate = (bytes) => (bytes == null ? '–' : `${size(bytes)}/s`);
const duration = (ms) => (ms < 10 ? `${ms.toFixed(1)} ms` : ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`);
const age = (ms) => {
  const s = Math.max(0, Math.floor(ms / 1000));
  const [d, h, m] = [Math.floor(s / 86400), Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60];
  return d ? `${d} d ${h} h` : h ? `${h} h ${m} min` : m ? `${m} min ${s % 60} s` : `${s} s`;
};
// Swedish dates are those of ISO 8601.
const time = (text) => new Date(text).toLocaleString('sv');
const localise = (root) => {
  for (const element of root.querySelectorAll('time')) {
    element.title = element.textContent;
    element.textContent = time(element.dateTime);
  }
};

// ---- the tunnels

const rows = new Map(); // the tunnels by their key
const shown = new Map(); // the table's rows by the same key, in their order
let mostRows = 300;
let endingTakes = null;
let hasGateways = false; // more than one
let ahead = 0; // ms of the gateway's clock before this one
let sort = { by: 'opened', up: false };

const key = (row) => `${row.gateway} ${row.id}`;
const collator = new Intl.Collator('en', { numeric: true });
const columns = [
  ['User', '', (row) => row.user],
  ['VPS', '', (row) => row.name ?? row.task_id, (row) => (row.name ? row.task_id : '')],
  ['Runner', '', (row) => row.node],
  ['Client', '', (row) => row.client, (row) => row.transport],
  ['Since', '', (row) => age(Date.now() + ahead - row.opening), (row) => time(row.opened)],
  ['Up', 'number', (row) => rate(row.bytes_up_per_second), (row) => size(row.bytes_up)],
  ['Down', 'number', (row) => rate(row.bytes_down_per_second), (row) => size(row.bytes_down)],
  ['State', '', (row) => (row.parked ? `parked for ${age(Date.now() - row.parked)}` : 'open'), (row) => (row.moves ? `moved ${row.moves}×` : '')],
  ['Gateway', '', (row) => row.gateway],
];
const GATEWAY = columns.length - 1;

function learn(row) {
  const known = rows.get(key(row)) ?? {};
  if (typeof row.parked_seconds === 'number') known.parked = Date.now() - row.parked_seconds * 1000;
  else if ('parked_seconds' in row) known.parked = 0;
  Object.assign(known, row);
  known.opening = Date.parse(known.opened);
  known.text = [known.user, known.name, known.task_id, known.node, known.client, known.transport, known.gateway].join(' ').toLowerCase();
  rows.set(key(row), known);
}

function build(row) {
  const cells = columns.map(([label, classes]) => {
    const [main, small] = [document.createTextNode(''), document.createTextNode('')];
    const cell = make('td', { className: classes }, make('span', {}, make('bdi', {}, main), make('small', {}, small)));
    cell.dataset.label = label;
    return { cell, main, small };
  });
  const button = make('button', { type: 'button', className: 'end', textContent: 'End' });
  button.addEventListener('click', () => askToEnd(rows.get(key(row)) ?? row));
  const act = make('td', { className: 'act' }, button);
  const element = make('tr', {}, ...cells.map(({ cell }) => cell), act);
  element.setAttribute('role', 'row');
  for (const cell of element.cells) cell.setAttribute('role', 'cell');
  return { element, cells, button };
}

const put = (node, text) => {
  if (node.data !== text) node.data = text;
};

function fill({ cells, button }, row) {
  columns.forEach(([, , main, small], at) => {
    const text = main(row);
    put(cells[at].main, text ?? '–');
    if (small) put(cells[at].small, small(row));
  });
  cells[GATEWAY].cell.hidden = !hasGateways;
  cells[7].main.parentNode.classList.toggle('warn', !!row.parked);
  const label = `End the tunnel of ${row.user ?? 'nobody known'} to ${row.name ?? row.task_id} from ${row.client}`;
  if (button.ariaLabel !== label) button.ariaLabel = label;
}

function inOrder(found) {
  const { by, up } = sort;
  const value = (row) => row[by] ?? (by === 'name' ? row.task_id : '');
  const compare = /bytes|moves/.test(by) ? (a, b) => (a[by] ?? -1) - (b[by] ?? -1) : (a, b) => collator.compare(value(a), value(b));
  found.sort((a, b) => (up ? compare(a, b) : compare(b, a)) || b.id - a.id);
  // What a person points at must not run away.
  if (by.startsWith('bytes') && $('rows').matches(':hover, :focus-within')) {
    const places = new Map([...shown.keys()].map((name, at) => [name, at]));
    const place = (row) => places.get(key(row)) ?? Infinity;
    found.sort((a, b) => (place(a) === place(b) ? 0 : place(a) - place(b)));
  }
  return found;
}

function show() {
  const words = $('filter').querySelector('input').value.toLowerCase().split(/\s+/);
  const all = [...rows.values()];
  const found = inOrder(all.filter((row) => words.every((word) => row.text.includes(word))));
  $('gateway-column').hidden = !hasGateways;
  const [body, focused] = [$('rows'), document.activeElement];
  const before = new Map(shown);
  shown.clear();
  found.slice(0, mostRows).forEach((row, at) => {
    const entry = before.get(key(row)) ?? build(row);
    before.delete(key(row));
    shown.set(key(row), entry);
    fill(entry, row);
    if (body.children[at] !== entry.element) body.insertBefore(entry.element, body.children[at] ?? null);
  });
  while (body.children.length > shown.size) body.lastChild.remove();
  if (!found.length) {
    const text = all.length ? 'No tunnel matches the filter.' : 'No tunnel is open.';
    const cell = make('td', { className: 'empty', colSpan: 10, textContent: text });
    cell.setAttribute('role', 'cell');
    body.append(make('tr', {}, cell));
  }
  // An element that was moved has lost the focus.
  if (document.activeElement !== focused && body.contains(focused)) focused.focus({ preventScroll: true });
  const count = found.length === all.length ? `${grouped(all.length)} open` : `${grouped(found.length)} of ${grouped(all.length)} open`;
  $('count').textContent = all.length ? count : '';
  const more = found.length - shown.size;
  $('more').textContent = more > 0 ? `${grouped(more)} more: filter to see them.` : '';
}

function makeSortable() {
  document.querySelector('#tunnels table').classList.add('sortable');
  for (const head of document.querySelectorAll('[data-sort]')) {
    const button = make('button', { type: 'button', textContent: head.textContent });
    head.replaceChildren(button);
    button.addEventListener('click', () => {
      const by = head.dataset.sort;
      // Numbers and times begin with the largest.
      sort = { by, up: sort.by === by ? !sort.up : !/bytes|moves|opened/.test(by) };
      for (const other of document.querySelectorAll('[data-sort]')) other.removeAttribute('aria-sort');
      head.ariaSort = sort.up ? 'ascending' : 'descending';
      show();
    });
  }
}

// ---- ending a tunnel

let secret = ''; // the admin's token once it was right, in the memory of this page alone
let ending = null;

function askToEnd(row) {
  ending = row;
  $('end-user').textContent = row.user ?? '–';
  $('end-vps').textContent = row.name ? `${row.name} (${row.task_id})` : row.task_id;
  $('end-client').textContent = row.client;
  $('end-error').textContent = '';
  const input = $('end').querySelector('input');
  input.value = '';
  $('end-off').hidden = endingTakes !== null;
  $('end-secret').hidden = endingTakes !== 'token' || secret !== '';
  $('end').querySelector('.danger').hidden = endingTakes === null;
  $('end').showModal();
  ($('end-secret').hidden ? $('end').querySelector('[value=cancel]') : input).focus();
}

async function end(event) {
  event.preventDefault();
  const [row, dialog, input] = [ending, $('end'), $('end').querySelector('input')];
  const button = dialog.querySelector('.danger');
  const token = secret || input.value;
  const fail = (text) => {
    $('end-error').textContent = text;
  };
  if (endingTakes === 'token' && !token) {
    fail('Ending a tunnel takes the token.');
    return input.focus();
  }
  button.disabled = true;
  try {
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    // The number is that of its gateway, whose name needs no escapes in a path.
    const answer = await fetch(`sessions/${row.gateway}/${row.id}`, { method: 'DELETE', headers });
    if (answer.ok) {
      secret = token;
      dialog.close();
      $('said').textContent = `The tunnel of ${row.user ?? 'nobody known'} to ${row.name ?? row.task_id} is ended.`;
      $('tunnels').focus({ preventScroll: true });
      return;
    }
    fail(`${answer.status}: ${(await answer.text()).trim()}`);
    if (answer.status === 401) {
      secret = '';
      $('end-secret').hidden = false;
      input.select();
    }
  } catch (error) {
    // A token with letters that no field may have is wrong, and was not sent.
    fail(error instanceof TypeError && /[^\x20-\x7e]/.test(token) ? 'This is no token: it has a letter that none has.' : 'The gateway does not answer.');
  } finally {
    button.disabled = false;
  }
}

// ---- the charts

const SVG = 'http://www.w3.org/2000/svg';
const FEWEST = 36; // points that fill a chart of a young process
const [WIDTH, HEIGHT] = [360, 40];

function draw(figure, history) {
  const names = figure.dataset.chart.split(' ');
  const series = names.map((name) => history[name]);
  const points = Math.max(series[0].length, FEWEST);
  const most = Math.max(1, ...series.flat());
  const svg = document.createElementNS(SVG, 'svg');
  const path = (classes, d) => {
    const element = document.createElementNS(SVG, 'path');
    element.setAttribute('class', classes);
    element.setAttribute('d', d);
    svg.append(element);
  };
  series.forEach((values, number) => {
    const x = (at) => (((points - values.length + at) * WIDTH) / (points - 1)).toFixed(1);
    const y = (value) => (HEIGHT - (value / most) * (HEIGHT - 2)).toFixed(1);
    let [line, isOpen] = ['', false];
    values.forEach((value, at) => {
      if (value != null) line += `${isOpen ? 'L' : 'M'}${x(at)} ${y(value)}${isOpen ? '' : 'h0'}`;
      isOpen = value != null;
    });
    if (number === 0 && values.length && !values.includes(null)) {
      path('area', `M${x(0)} ${HEIGHT}L${line.slice(1).replace('h0', '')}L${x(values.length - 1)} ${HEIGHT}Z`);
    }
    path(number ? 'second' : 'first', line);
  });
  const say = (value) => (names[0].startsWith('bytes') ? rate(value / history.seconds) : names[0].endsWith('seconds') ? duration(value) : grouped(value));
  const told = series.map((values, at) => {
    const known = values.filter((value) => value != null);
    const word = names.length > 1 ? `${names[at].split('_')[1]} ` : '';
    return known.length ? `${word}at most ${say(Math.max(...known))}, last ${say(known.at(-1))}` : `${word}nothing yet`;
  });
  const minutes = Math.round((series[0].length * history.seconds) / 60);
  svg.setAttribute('class', 'chart');
  svg.setAttribute('viewBox', `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', `${figure.querySelector('figcaption').textContent}, last ${minutes} minutes: ${told.join('; ')}`);
  figure.querySelector('svg')?.remove();
  figure.append(svg);
}

// ---- what the gateway says

function take(name, data) {
  if (name === 'status') rows.clear();
  for (const row of data.sessions ?? data.changed) learn(row);
  for (const row of data.gone ?? []) rows.delete(key(row));
  if ('ending_takes' in data) endingTakes = data.ending_takes;
  hasGateways = data.has_gateways ?? hasGateways;
  mostRows = data.most_rows ?? mostRows;
  if (data.time) ahead = Date.parse(data.time) - Date.now();
  for (const [id, html] of Object.entries(data.parts ?? {})) {
    if (parts.get(id) === html) continue;
    parts.set(id, html);
    $(id).innerHTML = html;
    localise($(id));
  }
  if (data.history) for (const figure of document.querySelectorAll('[data-chart]')) draw(figure, data.history);
  show();
}

const parts = new Map();
// The pages of one browser share a stream: a browser opens six connections to a server, and a stream keeps one.
const channel = 'BroadcastChannel' in window ? new BroadcastChannel('kohakuriver-gateway') : null;
let source = null;
let isFollowing = false; // has the whole, so changes fit
let heard = 0;
let polls = 0;

function say(is, text) {
  if ($('live').textContent === text) return;
  $('live').textContent = text;
  $('live').dataset.is = is;
}

const lost = () => say('off', `No answer since ${new Date(heard).toLocaleTimeString('sv')}`);

function hear(name, text) {
  if (name === 'change' && !isFollowing) return;
  isFollowing = true;
  heard = Date.now();
  take(name, JSON.parse(text));
  say('on', 'Live');
}

function leave() {
  source?.close();
  source = null;
}

function open() {
  if (document.hidden) return;
  leave();
  channel?.postMessage(['taken']);
  const opened = new EventSource('events');
  source = opened;
  for (const name of ['status', 'change']) {
    opened.addEventListener(name, ({ data }) => {
      hear(name, data);
      channel?.postMessage([name, data]);
    });
  }
  opened.onerror = () => {
    // A stream ends every ten minutes, and the browser opens the next one a few seconds later.
    const since = heard;
    setTimeout(() => heard === since && source === opened && lost(), 2 * WAIT);
    // Refused: there are too many pages.
    if (opened.readyState === EventSource.CLOSED && source === opened) {
      leave();
      polls = 0;
      poll();
    }
  };
  heard = Date.now();
}

async function poll() {
  if (document.hidden || source) return;
  isFollowing = false;
  try {
    const answer = await fetch('page.json');
    take('status', await answer.json());
    heard = Date.now();
    say('on', 'Every 10 seconds: many pages are open');
  } catch {
    lost();
  }
  polls += 1;
  setTimeout(() => !source && !isFollowing && (polls < 3 ? poll() : open()), POLL);
}

function start() {
  localise(document);
  makeSortable();
  $('end-column').hidden = false;
  $('filter').hidden = false;
  $('filter').addEventListener('input', show);
  $('end').querySelector('form').addEventListener('submit', end);
  $('end').querySelector('[value=cancel]').addEventListener('click', () => $('end').close());
  if (channel) {
    channel.onmessage = ({ data: [name, text] }) => {
      if (document.hidden) return;
      if (name === 'taken') leave();
      // One of the pages goes on.
      else if (name === 'released') setTimeout(() => !source && Date.now() - heard > 400 && open(), 500 + Math.random() * 1000);
      else if (!source) hear(name, text);
    };
  }
  const release = () => {
    if (source) channel?.postMessage(['released']);
    leave();
    isFollowing = false;
  };
  document.addEventListener('visibilitychange', () => (document.hidden ? release() : open()));
  addEventListener('pagehide', release);
  addEventListener('pageshow', (event) => event.persisted && open());
  setInterval(() => {
    if (!source && Date.now() - heard > SILENCE) open();
  }, 5000);
  open();
}

start();
